//! What the process takes of its machine, read for each page: memory and descriptors.

use std::fs;

use metrics::gauge;
use rustix::process::{Resource, getrlimit};

use super::names;

/// Sets what can be read; what cannot (elsewhere than on Linux there is no such folder) keeps no series. Blocks.
#[expect(clippy::cast_precision_loss, reason = "bytes and descriptors are far below 2^52")]
pub(super) fn sample() {
    if let Some(bytes) = fs::read_to_string("/proc/self/status").ok().as_deref().and_then(resident_bytes) {
        gauge!(names::PROCESS_MEMORY).set(bytes as f64);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // Less the one that reads the folder.
        gauge!(names::PROCESS_OPEN_FDS).set(open.count().saturating_sub(1) as f64);
    }
    let most = getrlimit(Resource::Nofile).current;
    gauge!(names::PROCESS_MAX_FDS).set(most.map_or(f64::INFINITY, |most| most as f64));
}

/// `VmRSS` of a process' status, which is in KiB.
fn resident_bytes(status: &str) -> Option<u64> {
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix("kB")?;
    kib.trim_end().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn memory_is_read_from_a_status() {
        for (status, expect) in [
            ("Name:\tfitment\nVmPeak:\t  9 kB\nVmRSS:\t  2048 kB\n", Some(2 << 20)),
            ("Name:\tfitment\n", None),
            ("VmRSS:\t many kB\n", None),
            ("VmRSS:\t 18446744073709551615 kB\n", None),
        ] {
            assert_eq!(resident_bytes(status), expect, "{status}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory_and_descriptors() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, sample);
        let page = recorder.handle().render();
        let value = |name: &str| -> f64 {
            let line = page.lines().find_map(|line| line.strip_prefix(name)).expect(name);
            line.trim().parse().expect("a number")
        };
        assert!(value("process_resident_memory_bytes ") > 1e6, "{page}");
        assert!((3.0..=value("process_max_fds ")).contains(&value("process_open_fds ")), "{page}");
    }
}
