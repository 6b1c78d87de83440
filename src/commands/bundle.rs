//! What `create` and `run` share: the flags that tell how a bundle becomes a container.

/// `args!` with the flags of both first.
macro_rules! bundle_args {
    (#[doc = $doc:literal] pub struct Args { $($own:tt)* }) => {
        $crate::args! {
            #[doc = $doc]
            pub struct Args {
                /// The bundle: a folder with config.json (default: the current one)
                bundle: Option<std::path::PathBuf> = "--bundle -b DIR",
                /// Another config.json than the bundle's
                config: Option<std::path::PathBuf> = "--config -f FILE",
                /// Write the process id to this file
                pid_file: Option<std::path::PathBuf> = "--pid-file FILE",
                /// Unix socket that gets the terminal's descriptor
                console_socket: Option<std::path::PathBuf> = "--console-socket SOCKET",
                /// Unix socket that gets a pidfd of the process
                pidfd_socket: Option<std::path::PathBuf> = "--pidfd-socket SOCKET",
                /// Hand the process N descriptors more, from 3 on
                preserve_fds: Option<u32> = "--preserve-fds N",
                /// Move the root in place of pivot_root, for a rootfs on a ramdisk
                no_pivot: bool = "--no-pivot",
                /// Keep the caller's session keyring
                no_new_keyring: bool = "--no-new-keyring",
                $($own)*
            }
        }

        impl Args {
            /// As the engine takes them.
            fn options(self, global: &$crate::cli::Global, bundle: std::path::PathBuf) -> $crate::container::CreateOptions {
                $crate::container::CreateOptions {
                    bundle,
                    config: self.config,
                    console_socket: self.console_socket,
                    pid_file: self.pid_file,
                    pidfd_socket: self.pidfd_socket,
                    no_pivot: self.no_pivot,
                    no_new_keyring: self.no_new_keyring,
                    listen_fds: $crate::container::listen_fds(),
                    preserve_fds: self.preserve_fds.unwrap_or_default(),
                    driver: global.driver(),
                    rootless: global.rootless(),
                }
            }
        }
    };
}

pub(super) use bundle_args;
