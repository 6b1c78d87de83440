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

/// Mutations of the seeds, as many as an ordinary test run has time for.
mod tests {
    use super::*;

    const MUTATIONS: u64 = 150;

    #[test]
    fn layers_do_no_harm() {
        // Owners and devices are root's to give.
        let is_root = rustix::process::geteuid().is_root();
        let world = World::in_folder("layers");
        for (index, (name, seed)) in seeds("layer").into_iter().enumerate() {
            assert!(layer(&world, &seed) || !is_root, "{name} is refused");
            for number in 0..MUTATIONS {
                layer(&world, &mutate::archive(&seed, number << 8 | index as u64));
            }
        }
    }

    #[test]
    fn documents_do_no_harm() {
        let world = World::in_folder("documents");
        for (index, (name, seed)) in seeds("documents").into_iter().enumerate() {
            assert!(documents(&world, &seed), "{name} is refused");
            for number in 0..MUTATIONS {
                documents(&world, &mutate::any(&seed, number << 8 | index as u64));
            }
        }
    }
}
