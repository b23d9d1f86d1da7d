//! What the agent has to know of `slurm.conf` and `gres.conf`: where step daemons have their sockets, how
//! this node is called, and which device file each of its GPUs is.

use super::job::{matches_hosts, numbers};
use std::path::{Path, PathBuf};

/// Where packages, sites and a configless `slurmd` keep the file.
const PLACES: [&str; 4] = [
    "/etc/slurm/slurm.conf",
    "/etc/slurm-llnl/slurm.conf",
    "/run/slurm/conf/slurm.conf",
    "/var/spool/slurmd/conf-cache/slurm.conf",
];
const SPOOL: &str = "/var/spool/slurmd";
/// A file that is larger is not read: it is no configuration.
const BYTES_MAX: u64 = 16 << 20;

/// Slurm's configuration on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlurmConf {
    pub path: PathBuf,
    spool: String,
    nodes: Vec<String>,
}

impl SlurmConf {
    /// The configuration that was named, by key or by `SLURM_CONF`, or the one that is in its place.
    pub fn find(named: Option<&Path>) -> Option<Self> {
        let from_environment = std::env::var_os("SLURM_CONF").map(PathBuf::from);
        match named.map(Path::to_owned).or(from_environment) {
            Some(path) => Self::read(&path),
            None => PLACES.iter().find_map(|path| Self::read(Path::new(path))),
        }
    }

    fn read(path: &Path) -> Option<Self> {
        let text = read(path)?;
        let value = |name| lines(&text).find_map(|line| value(&line, name));
        let nodes = lines(&text).filter_map(|line| self::value(&line, "NodeName")).collect();
        let spool = value("SlurmdSpoolDir").unwrap_or_else(|| SPOOL.to_owned());
        Some(Self { path: path.to_owned(), spool, nodes })
    }

    /// How Slurm calls this host: by the name that its daemon was given, by the list of nodes, or as the
    /// host calls itself.
    pub fn node_name(&self, host: &str) -> String {
        if let Ok(name) = std::env::var("SLURMD_NODENAME") {
            return name;
        }
        let short = host.split('.').next().unwrap_or(host);
        let known = |name: &&str| self.nodes.iter().any(|list| matches_hosts(list, name));
        [short, host].into_iter().find(known).unwrap_or(short).to_owned()
    }

    /// Where step daemons have their sockets.
    pub fn spool_dir(&self, node: &str) -> PathBuf {
        self.spool.replace("%n", node).replace("%h", node).into()
    }

    /// The minor numbers of the GPUs of this node in Slurm's order, where `gres.conf` names their files.
    pub fn minors(&self, node: &str) -> Option<Vec<u32>> {
        let text = read(&self.path.with_file_name("gres.conf"))?;
        let mut minors = Vec::new();
        for line in lines(&text) {
            let here = value(&line, "NodeName").is_none_or(|list| matches_hosts(&list, node));
            if !here || value(&line, "Name").is_none_or(|name| !name.eq_ignore_ascii_case("gpu")) {
                continue;
            }
            // Files without a number at their end are instances of MIG and others: no order to tell.
            minors.extend(value(&line, "File").map(|files| device_numbers(&files))?);
        }
        (!minors.is_empty()).then_some(minors)
    }
}

fn read(path: &Path) -> Option<String> {
    let size = std::fs::metadata(path).ok()?.len();
    (size <= BYTES_MAX).then(|| std::fs::read_to_string(path).ok()).flatten()
}

/// Lines without comments, with what a backslash continues put together.
fn lines(text: &str) -> impl Iterator<Item = String> {
    let joined = text.replace("\\\n", " ");
    let lines: Vec<String> =
        joined.lines().filter_map(|line| line.split('#').next().map(str::to_owned)).collect();
    lines.into_iter()
}

/// The value of `NAME=VALUE` in a line, whatever the case of the name.
fn value(line: &str, name: &str) -> Option<String> {
    line.split_ascii_whitespace().find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim_matches('"').to_owned())
    })
}

/// `/dev/nvidia[0-3,5]` and `/dev/nvidia0,/dev/nvidia1` as numbers.
fn device_numbers(files: &str) -> Vec<u32> {
    if let Some((_, range)) = files.split_once('[') {
        return numbers(range.split(']').next().unwrap_or(range));
    }
    let number = |file: &str| {
        let digits = file.len() - file.bytes().rev().take_while(u8::is_ascii_digit).count();
        file.get(digits..)?.parse().ok()
    };
    files.split(',').filter_map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(slurm: &str, gres: &str) -> (tempfile::TempDir, SlurmConf) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("slurm.conf"), slurm).unwrap();
        std::fs::write(folder.path().join("gres.conf"), gres).unwrap();
        let conf = SlurmConf::find(Some(&folder.path().join("slurm.conf"))).unwrap();
        (folder, conf)
    }

    #[test]
    fn a_configuration_tells_the_node_s_name_and_where_sockets_are() {
        let (_folder, conf) =
            conf("# x\nslurmdspooldir=/var/lib/slurm/%n # here\nNodeName=gpu-[01-02] CPUs=8\n", "");
        assert_eq!(conf.node_name("gpu-02.cluster.example"), "gpu-02");
        assert_eq!(conf.spool_dir("gpu-02"), Path::new("/var/lib/slurm/gpu-02"));
        assert_eq!(conf.minors("gpu-02"), None);
        assert_eq!(SlurmConf::find(Some(Path::new("/nonexistent/slurm.conf"))), None);
    }

    #[test]
    fn the_order_of_gpus_is_that_of_their_files_on_this_node() {
        let gres = "NodeName=gpu-01 Name=gpu Type=h100 File=/dev/nvidia[4-5,7]\n\
                    NodeName=gpu-02 Name=gpu File=/dev/nvidia0,/dev/nvidia2\nName=shard Count=8\n";
        let (_folder, conf) = conf("ClusterName=c\n", gres);
        assert_eq!(conf.minors("gpu-01"), Some(vec![4, 5, 7]));
        assert_eq!(conf.minors("gpu-02"), Some(vec![0, 2]));
        assert_eq!(conf.minors("gpu-03"), None);
    }
}
