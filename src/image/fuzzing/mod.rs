//! What is hostile, driven by arbitrary bytes: layers and documents, each of them a mutation of a good input. Not part of any
//! program.
//!
//! What must hold: nothing panics; nothing outside of the root is touched; the caps hold; what was made can be removed.

mod documents;
mod layer;
mod mutate;
mod seeds;
mod world;

use documents::documents;
use layer::layer;
use seeds::seeds;
use world::World;

/// Mutations of the seeds, as many as an ordinary test run has time for; `scripts/fuzz.sh` tries others, for longer.
mod tests {
    use std::ops::Range;

    use super::*;

    /// The numbers of the mutations that are tried of each seed: the same number is the same mutation.
    fn numbers() -> Range<u64> {
        let asked = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let from = asked("MYRT_FUZZ_FROM").unwrap_or(0);
        from..from + asked("MYRT_FUZZ_COUNT").unwrap_or(150)
    }

    /// A mutation being tried: a panic says which it was.
    struct Turn<'a> {
        seed: &'a str,
        number: u64,
    }

    impl Drop for Turn<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                let Self { seed, number } = self;
                eprintln!("mutation {number} of the seed {seed:?}; once more: scripts/fuzz.sh 1 {number}");
            }
        }
    }

    #[test]
    fn layers_do_no_harm() {
        // Owners and devices are root's to give.
        let is_root = rustix::process::geteuid().is_root();
        let world = World::in_folder("layers");
        for (index, (name, seed)) in seeds("layer").into_iter().enumerate() {
            assert!(layer(&world, &seed) || !is_root, "{name} is refused");
            for number in numbers() {
                let _turn = Turn { seed: &name, number };
                layer(&world, &mutate::archive(&seed, number << 8 | index as u64));
            }
        }
    }

    #[test]
    fn documents_do_no_harm() {
        let world = World::in_folder("documents");
        for (index, (name, seed)) in seeds("documents").into_iter().enumerate() {
            assert!(documents(&world, &seed), "{name} is refused");
            for number in numbers() {
                let _turn = Turn { seed: &name, number };
                documents(&world, &mutate::any(&seed, number << 8 | index as u64));
            }
        }
    }
}
