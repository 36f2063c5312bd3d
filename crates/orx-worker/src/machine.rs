//! The load of the machine, as people see it in the list of workers.

use orx_model::message::Load;
use sysinfo::System;

pub(crate) struct LoadMeter {
    /// `None` on a system that does not report it.
    system: Option<System>,
}

impl LoadMeter {
    pub(crate) fn new() -> Self {
        let mut system = System::new().ok();
        if let Some(system) = &mut system {
            system.refresh_cpu_usage();
        }
        Self { system }
    }

    /// The load now. The use of processors is the average since the last call.
    pub(crate) fn read(&mut self) -> Option<Load> {
        let system = self.system.as_mut()?;
        system.refresh_cpu_usage();
        system.refresh_memory();
        let cpu = f64::from(system.global_cpu_usage()) / 100.0;
        Some(Load {
            cpu: (cpu.clamp(0.0, 1.0) * 1_000.0).round() / 1_000.0,
            memory_used_bytes: system.used_memory(),
            memory_bytes: system.total_memory(),
        })
    }
}
