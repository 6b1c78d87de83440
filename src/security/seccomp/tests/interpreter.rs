//! Runs a filter as the kernel would.

use libc::sock_filter;

/// struct seccomp_data without the instruction pointer.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub number: u32,
    pub audit: u32,
    pub args: [u64; 6],
}

/// What the filter returns. Panics where the kernel would have refused to load the program.
pub fn run(code: &[sock_filter], call: &Call) -> u32 {
    let mut word = 0_u32;
    let mut at = 0;
    loop {
        let sock_filter { code: operation, jt, jf, k } = code[at];
        let jump = |yes: bool| 1 + usize::from(if yes { jt } else { jf });
        at += match operation {
            0x20 => {
                word = match k {
                    0 => call.number,
                    4 => call.audit,
                    16..64 => (call.args[(k as usize - 16) / 8] >> (k % 8 * 8)) as u32,
                    _ => panic!("load of {k}"),
                };
                1
            }
            0x54 => {
                word &= k;
                1
            }
            0x05 => 1 + k as usize,
            0x15 => jump(word == k),
            0x25 => jump(word > k),
            0x35 => jump(word >= k),
            0x45 => jump(word & k != 0),
            0x06 => return k,
            _ => panic!("instruction {operation:#x}"),
        };
    }
}
