//! What the program's threads computed, for `--stats`.

use serde_json::{Map, Value};

/// Seconds of processor time by the names of threads, of those that run now; threads of one name together. Linux tells it; elsewhere there is none.
pub(crate) fn seconds() -> Value {
    let mut all = Map::new();
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        // A thread may end while it is looked at.
        let read = |file| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
        let nanos = read("schedstat").split(' ').next().and_then(|nanos| nanos.parse::<u64>().ok());
        if let Some(nanos) = nanos {
            let sum = all.entry(read("comm").trim()).or_insert(0.0.into());
            *sum = (sum.as_f64().unwrap_or_default() + nanos as f64 / 1e9).into();
        }
    }
    Value::Object(all)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::sync::mpsc::channel;

    #[test]
    fn a_thread_is_in_it_by_its_name_and_time() {
        let (tell, told) = channel();
        let (end, ended) = channel::<()>();
        let body = move || {
            let begun = std::time::Instant::now();
            while begun.elapsed().as_millis() < 30 {}
            tell.send(()).unwrap();
            let _ = ended.recv();
        };
        let thread = std::thread::Builder::new().name("busy".into()).spawn(body).unwrap();
        told.recv().unwrap();
        let seconds = super::seconds();
        drop(end);
        thread.join().unwrap();
        assert!(seconds["busy"].as_f64().is_some_and(|seconds| seconds > 0.0), "{seconds}");
    }
}
