//! The servers, built by a call of cargo: `cargo run` builds only the program that it runs.

use std::{
    collections::BTreeSet,
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    options::Plan,
    variant::{Protector, Variant},
};

#[derive(Debug)]
pub(crate) struct Programs {
    folder: PathBuf,
    fastify: Option<Result<PathBuf, String>>,
}

impl Programs {
    /// Builds the servers of the plan into the folder in which this program stands.
    pub(crate) fn build(plan: &Plan) -> Result<Self, String> {
        let this = env::current_exe().map_err(|error| error.to_string())?;
        // <target>/<profile directory>/plimsoll-flood
        let folder = this.parent().ok_or("this program stands in no folder")?.to_owned();
        let target = folder.parent().ok_or("profiles stand below the target folder")?;
        let programs: BTreeSet<String> =
            plan.variants.iter().filter_map(|variant| variant.program()).collect();
        if !programs.is_empty() {
            build(&folder, target, &programs)?;
        }
        let wants_fastify =
            plan.variants.iter().any(|variant| matches!(variant.guard, Protector::Fastify(_)));
        let fastify = wants_fastify.then(|| install_fastify(&target.join("flood-fastify")));
        Ok(Self { folder, fastify })
    }

    /// Why a variant cannot run here.
    pub(crate) fn missing(&self, variant: Variant) -> Option<&str> {
        match (variant.guard, &self.fastify) {
            (Protector::Fastify(_), Some(Err(why))) => Some(why),
            _ => None,
        }
    }

    /// A folder for large files, on the disk of the target folder.
    pub(crate) fn scratch(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn server(&self, program: &str) -> PathBuf {
        self.folder.join(program)
    }

    pub(crate) fn fastify(&self) -> Option<&Path> {
        self.fastify.as_ref()?.as_deref().ok()
    }
}

fn build(folder: &Path, target: &Path, programs: &BTreeSet<String>) -> Result<(), String> {
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--quiet", "--locked", "--package", env!("CARGO_PKG_NAME")])
        .args(["--profile", profile])
        .arg("--target-dir")
        .arg(target)
        .stdin(Stdio::null());
    for program in programs {
        command.args(["--bin", program]);
    }
    let status = command.status().map_err(|error| format!("cargo does not start: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("the servers do not build: {status}")) }
}

/// Installs Fastify once, outside the sources, and returns the script that serves with it.
fn install_fastify(folder: &Path) -> Result<PathBuf, String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/fastify");
    for tool in ["node", "npm"] {
        let found = Command::new(tool).arg("--version").output();
        if !found.is_ok_and(|output| output.status.success()) {
            return Err(format!("{tool} is not installed"));
        }
    }
    std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    for file in ["package.json", "server.mjs"] {
        std::fs::copy(sources.join(file), folder.join(file))
            .map_err(|error| format!("{file}: {error}"))?;
    }
    let script = folder.join("server.mjs");
    if folder.join("node_modules/fastify/package.json").exists() {
        return Ok(script);
    }
    let output = Command::new("npm")
        .current_dir(folder)
        .args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel", "error"])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(script)
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("npm install failed: {}", said.lines().next().unwrap_or_default()))
    }
}
