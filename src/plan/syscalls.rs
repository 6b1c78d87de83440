//! Names of system calls and their numbers, for every calling convention that this machine's kernel serves.
//!
//! A hash table made at compile time out of the lists of the `syscalls` crate: one lookup of a name answers for all
//! conventions at once, nothing is built at run time, and there are no pointers in it that the loader would relocate.

mod odd;

use std::mem::size_of;

/// A row of [`Names`]: one system call, whatever its number on each architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call(u16);

/// A set of calls of one family.
#[derive(Clone, Debug)]
pub struct Calls([u64; SLOTS / 64]);

impl Calls {
    /// Whether it is one of them.
    pub fn has(&self, call: Call) -> bool {
        self.0[usize::from(call.0) / 64] & (1 << (call.0 % 64)) != 0
    }
}

impl FromIterator<Call> for Calls {
    fn from_iter<T: IntoIterator<Item = Call>>(calls: T) -> Self {
        let mut bits = [0; SLOTS / 64];
        calls.into_iter().for_each(|call| bits[usize::from(call.0) / 64] |= 1 << (call.0 % 64));
        Self(bits)
    }
}

/// One system call that socketcall(2) or ipc(2) does as well: the first argument of those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Multiplexed {
    /// socketcall(2) with this number.
    Socket(u8),
    /// ipc(2) with this number.
    Ipc(u8),
}

/// The calls of one family of architectures, those whose programs one kernel runs.
#[derive(Debug)]
pub struct Names {
    slots: &'static [Slot; SLOTS],
    text: &'static [u8; TEXT],
}

/// How many conventions a family has at most: x86_64, x86 and x32.
const COLUMNS: usize = 3;
const SLOTS: usize = 1024;
const TEXT: usize = 10 * 1024;
const ABSENT: u16 = u16::MAX;
/// Numbers from here on stand for 32-bit ARM's own calls, which begin at 0xf0000.
const ARM_PRIVATE: u16 = 0xf000;
/// Set in [`Slot::multiplexed`] for ipc(2), not for socketcall(2).
const IPC: u8 = 0x80;

#[derive(Clone, Copy, Debug)]
struct Slot {
    start: u16,
    length: u8,
    multiplexed: u8,
    numbers: [u16; COLUMNS],
}

const _: () = assert!(size_of::<Slot>() == 10);

const EMPTY: Slot = Slot { start: 0, length: 0, multiplexed: 0, numbers: [ABSENT; COLUMNS] };

impl Names {
    /// The call of this name, if any convention of the family has it.
    pub fn find(&self, name: &str) -> Option<Call> {
        let mut slot = start_slot(name.as_bytes());
        loop {
            let Slot { start, length, .. } = self.slots[slot];
            if length == 0 {
                return None;
            }
            let start = usize::from(start);
            if &self.text[start..start + usize::from(length)] == name.as_bytes() {
                return Some(Call(slot as u16));
            }
            slot = (slot + 1) % SLOTS;
        }
    }

    /// The name of a call, for messages.
    pub fn name(&self, call: Call) -> &'static str {
        let Slot { start, length, .. } = self.slots[usize::from(call.0)];
        let start = usize::from(start);
        std::str::from_utf8(&self.text[start..start + usize::from(length)]).unwrap_or_default()
    }

    /// The number of a call in a column, if that convention has it.
    pub fn number(&self, call: Call, column: usize) -> Option<u32> {
        match self.slots[usize::from(call.0)].numbers[column] {
            ABSENT => None,
            private if private >= ARM_PRIVATE => Some(0xf_0000 + u32::from(private - ARM_PRIVATE)),
            number => Some(u32::from(number)),
        }
    }

    /// Which part of a multiplexer the call is, where the architecture has multiplexers.
    pub fn multiplexed(&self, call: Call) -> Option<Multiplexed> {
        match self.slots[usize::from(call.0)].multiplexed {
            0 => None,
            ipc if ipc & IPC != 0 => Some(Multiplexed::Ipc(ipc & !IPC)),
            socket => Some(Multiplexed::Socket(socket)),
        }
    }

    /// All calls of the family.
    pub fn all(&self) -> impl Iterator<Item = Call> + '_ {
        (0..SLOTS).filter(|slot| self.slots[*slot].length > 0).map(|slot| Call(slot as u16))
    }
}

/// FNV-1a, folded to a place in the table.
const fn start_slot(name: &[u8]) -> usize {
    let mut hash = 0x811c_9dc5_u32;
    let mut at = 0;
    while at < name.len() {
        hash = (hash ^ name[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    ((hash ^ (hash >> 15)) as usize) % SLOTS
}

/// What the table is made from, at compile time.
struct Builder {
    slots: [Slot; SLOTS],
    text: [u8; TEXT],
    used: usize,
}

impl Builder {
    const fn new() -> Self {
        Self { slots: [EMPTY; SLOTS], text: [0; TEXT], used: 0 }
    }

    /// The slot of a name, made when it is new.
    const fn slot(mut self, name: &str) -> (Self, usize) {
        let mut name = name.as_bytes();
        // stringify! keeps the mark of a raw identifier: `r#break`.
        if let [b'r', b'#', rest @ ..] = name {
            name = rest;
        }
        let mut slot = start_slot(name);
        while self.slots[slot].length != 0 && !self.holds(slot, name) {
            slot = (slot + 1) % SLOTS;
        }
        if self.slots[slot].length == 0 {
            self.slots[slot].start = self.used as u16;
            self.slots[slot].length = name.len() as u8;
            let mut at = 0;
            while at < name.len() {
                self.text[self.used] = name[at];
                self.used += 1;
                at += 1;
            }
        }
        (self, slot)
    }

    const fn holds(&self, slot: usize, name: &[u8]) -> bool {
        let Slot { start, length, .. } = self.slots[slot];
        if length as usize != name.len() {
            return false;
        }
        let mut at = 0;
        while at < name.len() {
            if self.text[start as usize + at] != name[at] {
                return false;
            }
            at += 1;
        }
        true
    }

    const fn number(self, name: &str, column: usize, number: u16) -> Self {
        let (mut this, slot) = self.slot(name);
        this.slots[slot].numbers[column] = number;
        this
    }

    const fn rows(mut self, column: usize, rows: &[(&str, u16)]) -> Self {
        let mut row = 0;
        while row < rows.len() {
            self = self.number(rows[row].0, column, rows[row].1);
            row += 1;
        }
        self
    }

    const fn multiplexed(mut self) -> Self {
        let mut row = 0;
        while row < odd::MULTIPLEXED.len() {
            let (name, number) = odd::MULTIPLEXED[row];
            let (mut next, slot) = self.slot(name);
            next.slots[slot].multiplexed = number;
            self = next;
            row += 1;
        }
        self
    }

    /// The generic table of 64-bit architectures, as the crate has it, lists what only 32-bit ones have, and one call
    /// under the name of its C function.
    #[cfg(any(target_arch = "aarch64", target_arch = "riscv64", target_arch = "loongarch64", test))]
    const fn generic_64(mut self, column: usize) -> Self {
        let mut slot = 0;
        while slot < SLOTS {
            if let 403..=423 = self.slots[slot].numbers[column] {
                self.slots[slot].numbers[column] = ABSENT;
            }
            slot += 1;
        }
        self.number("newfstatat", column, 79)
    }

    /// x32 has x86_64's numbers but for [`odd::X32_OWN`] and [`odd::X32_LACKS`].
    #[cfg(any(target_arch = "x86_64", test))]
    const fn x32(mut self, from: usize, column: usize) -> Self {
        let mut slot = 0;
        while slot < SLOTS {
            self.slots[slot].numbers[column] = self.slots[slot].numbers[from];
            slot += 1;
        }
        let mut row = 0;
        while row < odd::X32_LACKS.len() {
            self = self.number(odd::X32_LACKS[row], column, ABSENT);
            row += 1;
        }
        self.rows(column, odd::X32_OWN)
    }
}

/// Adds a table of the `syscalls` crate as a column.
macro_rules! column {
    ($builder:expr, $column:expr, $table:path) => {{
        use $table as table;
        let mut builder: Builder = $builder;
        let mut id = table::Sysno::first().id() as usize;
        while id <= table::Sysno::last().id() as usize {
            if let Some(call) = table::Sysno::new(id) {
                builder = builder.number(call.name(), $column, id as u16);
            }
            id += 1;
        }
        builder
    }};
}

/// A finished table, as a static of its own.
macro_rules! names {
    ($(#[$meta:meta])* $visible:vis $name:ident, $builder:expr) => {
        $(#[$meta])*
        $visible static $name: Names = {
            static BUILT: ([Slot; SLOTS], [u8; TEXT]) = {
                let built: Builder = $builder.multiplexed();
                (built.slots, built.text)
            };
            Names { slots: &BUILT.0, text: &BUILT.1 }
        };
    };
}

#[cfg(target_arch = "x86_64")]
names!(
    /// The calls of this machine: x86_64, x86 and x32.
    pub NATIVE,
    column!(column!(Builder::new(), 0, syscalls::x86_64), 1, syscalls::x86).x32(0, 2)
);

#[cfg(any(target_arch = "aarch64", test))]
names!(
    /// The calls of 64-bit ARM machines: aarch64 and arm.
    pub ARM64,
    column!(column!(Builder::new(), 0, syscalls::aarch64).generic_64(0), 1, syscalls::arm).rows(1, odd::ARM_OWN)
);
#[cfg(target_arch = "aarch64")]
pub use ARM64 as NATIVE;

/// Families of one architecture.
macro_rules! alone {
    ($($arch:literal $table:path $(, $fix:ident)?;)*) => {$(
        #[cfg(target_arch = $arch)]
        names!(
            /// The calls of this machine.
            pub NATIVE,
            column!(Builder::new(), 0, $table)$(.$fix(0))?
        );
    )*};
}

alone! {
    "x86" syscalls::x86;
    "arm" syscalls::arm;
    "riscv64" syscalls::riscv64, generic_64;
    "loongarch64" syscalls::loongarch64, generic_64;
    "s390x" syscalls::s390x;
    "powerpc64" syscalls::powerpc64;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_the_crate_is_found() {
        for id in 0..600 {
            if let Some(call) = syscalls::x86_64::Sysno::new(id) {
                let found = NATIVE.find(call.name()).unwrap();
                assert_eq!(NATIVE.number(found, 0), Some(id as u32));
                assert_eq!(NATIVE.name(found), call.name());
            }
            if let Some(call) = syscalls::arm::Sysno::new(id) {
                assert_eq!(ARM64.number(ARM64.find(call.name()).unwrap(), 1), Some(id as u32));
            }
        }
        assert_eq!(NATIVE.find("no_such_call"), None);
        assert_eq!(NATIVE.find(""), None);
    }

    #[test]
    fn odd_calls_have_their_numbers() {
        let number = |name, column| NATIVE.number(NATIVE.find(name).unwrap(), column);
        assert_eq!(number("execve", 2), Some(520));
        assert_eq!(number("read", 2), Some(0));
        assert_eq!(number("uselib", 2), None);
        assert_eq!(number("break", 1), Some(17));
        assert_eq!(number("send", 0), None);
        assert_eq!(NATIVE.multiplexed(NATIVE.find("send").unwrap()), Some(Multiplexed::Socket(9)));
        assert_eq!(NATIVE.multiplexed(NATIVE.find("shmctl").unwrap()), Some(Multiplexed::Ipc(24)));
        assert_eq!(ARM64.number(ARM64.find("set_tls").unwrap(), 1), Some(0xf0005));
    }
}
