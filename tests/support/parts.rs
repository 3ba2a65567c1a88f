//! Where the real programs are: those `tests/parts/get.sh` builds, or the ones it was pointed to.

use std::{
    collections::HashMap,
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
};

/// The path of a part: `kube-apiserver`, `etcd`, `kubectl`, `istio-crds`, `helm`, or one of the mesh lab's.
///
/// Runs the script once per part and process, also when the part seems to be there: only the
/// script can tell whether it is the version its module asks for, and it does so in milliseconds.
/// The first time on a machine it builds, for minutes, and says so on the screen.
pub fn part(name: &str) -> PathBuf {
    static KNOWN: OnceLock<Mutex<HashMap<String, PathBuf>>> = OnceLock::new();
    // Held over the script: a second test asking meanwhile would only wait for the script's lock.
    // A panic in here leaves the map whole, so the next test may try again.
    let known = KNOWN.get_or_init(Mutex::default);
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    known.entry(name.to_owned()).or_insert_with(|| get(name)).clone()
}

fn get(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = root.join("tests/parts/get.sh");
    // Not captured by the test harness: whoever waits for a build sees that it goes on.
    let status = Command::new(&script)
        .arg(name)
        .stdin(Stdio::null())
        .status()
        .unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    assert!(status.success(), "{} {name}: {status}, see its messages above", script.display());

    let store = env::var_os("TRADEWIND_PARTS_DIR").map_or_else(|| root.join(".cache/parts"), PathBuf::from);
    let path = match name {
        "istio-crds" => store.join("istio-crds.yaml"),
        "envoy-bootstrap" => store.join("envoy-bootstrap.json"),
        program => store.join("bin").join(program),
    };
    assert!(path.exists(), "{} {name} succeeded but left no {}", script.display(), path.display());
    path
}
