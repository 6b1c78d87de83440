/* Compiles profiles with libseccomp, for comparison: reads a file of lines, writes a file of results.
 *
 *   N name                          numbers of a system call: x86_64 x86 x32 aarch64 arm, as five 32-bit integers
 *   M number                        names of it on the same architectures, 32 bytes each
 *   P default                       begins a profile
 *   F                               forgets the native architecture
 *   A token                         adds an architecture
 *   R action name n {index op a b}  adds a rule with n conditions
 *   E                               ends it: writes the status of the first refused call, the length, the instructions
 */
#include <errno.h>
#include <inttypes.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void put(FILE *out, int32_t number)
{
	fwrite(&number, sizeof(number), 1, out);
}

static void finish(scmp_filter_ctx context, int status, FILE *out)
{
	char buffer[1 << 16];
	FILE *program = tmpfile();
	size_t length;

	if (status == 0)
		status = seccomp_export_bpf(context, fileno(program));
	rewind(program);
	length = status == 0 ? fread(buffer, 1, sizeof(buffer), program) : 0;
	put(out, status);
	put(out, (int32_t)(length / 8));
	fwrite(buffer, 1, length, out);
	fclose(program);
	seccomp_release(context);
}

int main(int argc, char **argv)
{
	static const uint32_t tokens[] = {
		SCMP_ARCH_X86_64, SCMP_ARCH_X86, SCMP_ARCH_X32, SCMP_ARCH_AARCH64, SCMP_ARCH_ARM,
	};
	FILE *in = argc == 3 ? fopen(argv[1], "r") : NULL, *out = in ? fopen(argv[2], "w") : NULL;
	scmp_filter_ctx context = NULL;
	char kind, name[64];
	int status = 0;

	if (!out)
		return 2;
	while (fscanf(in, " %c", &kind) == 1) {
		uint32_t number;
		struct scmp_arg_cmp args[6];
		int count, call, result;

		switch (kind) {
		case 'N':
			if (fscanf(in, "%63s", name) != 1)
				return 3;
			for (size_t at = 0; at < sizeof(tokens) / sizeof(*tokens); at++)
				put(out, seccomp_syscall_resolve_name_arch(tokens[at], name));
			break;
		case 'M':
			if (fscanf(in, "%" SCNu32, &number) != 1)
				return 10;
			for (size_t at = 0; at < sizeof(tokens) / sizeof(*tokens); at++) {
				uint32_t x32 = tokens[at] == SCMP_ARCH_X32 ? 0x40000000 : 0;
				char *found = seccomp_syscall_resolve_num_arch(tokens[at], (int)(number | x32));
				char text[32] = { 0 };

				if (found)
					strncpy(text, found, sizeof(text) - 1);
				fwrite(text, sizeof(text), 1, out);
				free(found);
			}
			break;
		case 'P':
			if (fscanf(in, "%" SCNu32, &number) != 1 || !(context = seccomp_init(number)))
				return 4;
			status = 0;
			break;
		case 'F':
			seccomp_arch_remove(context, SCMP_ARCH_NATIVE);
			break;
		case 'A':
			if (fscanf(in, "%" SCNu32, &number) != 1)
				return 5;
			result = seccomp_arch_add(context, number);
			if (result < 0 && result != -EEXIST && status == 0)
				status = result;
			break;
		case 'R':
			if (fscanf(in, "%" SCNu32 " %63s %d", &number, name, &count) != 3 || count > 6)
				return 6;
			for (int at = 0; at < count; at++) {
				unsigned int index, op;
				uint64_t a, b;

				if (fscanf(in, "%u %u %" SCNu64 " %" SCNu64, &index, &op, &a, &b) != 4)
					return 7;
				args[at] = (struct scmp_arg_cmp){ index, op, a, b };
			}
			call = seccomp_syscall_resolve_name(name);
			if (call == __NR_SCMP_ERROR)
				break;
			result = seccomp_rule_add_array(context, number, call, count, args);
			if (result < 0 && status == 0)
				status = result;
			break;
		case 'E':
			finish(context, status, out);
			break;
		default:
			return 8;
		}
	}
	return fclose(out) ? 9 : 0;
}
