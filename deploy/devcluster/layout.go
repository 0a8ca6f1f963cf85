package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
)

const (
	// runRoot holds one folder per running cluster. It is short because unix
	// socket paths are limited to 107 bytes.
	runRoot = "/run/agentmarket-dev"

	// longStateRoot holds the kubelet's folder of clusters whose state folder's
	// path is too long for the unix sockets that the kubelet makes inside.
	longStateRoot = "/var/lib/agentmarket-dev"

	// maxSocketPath is the longest path of a unix socket on Linux
	// (sockaddr_un.sun_path is 108 bytes with its closing NUL).
	maxSocketPath = 107
)

// Layout names every file and folder of one cluster.
type Layout struct {
	ID    string // first 8 hex digits of the SHA-256 of the state folder's path
	State string // absolute path of the state folder, kept across down and up
	Run   string // folder of what lives only while the cluster runs
	Bin   string // folder of devcluster, containerd, containerd-shim-runc-v2, ctr, pause
}

// newLayout resolves the state folder. The folder is resolved through symbolic
// links, so that two spellings of one folder are one cluster.
func newLayout(stateDir string) (Layout, error) {
	abs, err := filepath.Abs(stateDir)
	if err != nil {
		return Layout{}, fmt.Errorf("resolve state folder %q: %w", stateDir, err)
	}
	abs = resolveExisting(abs)
	exe, err := os.Executable()
	if err != nil {
		return Layout{}, fmt.Errorf("find own executable: %w", err)
	}
	sum := sha256.Sum256([]byte(abs))
	id := hex.EncodeToString(sum[:4])
	return Layout{ID: id, State: abs, Run: filepath.Join(runRoot, id), Bin: filepath.Dir(exe)}, nil
}

// resolveExisting follows symbolic links in the part of path that exists.
func resolveExisting(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	parent := filepath.Dir(path)
	if parent == path {
		return path
	}
	return filepath.Join(resolveExisting(parent), filepath.Base(path))
}

func (l Layout) ClusterFile() string        { return filepath.Join(l.State, "cluster.json") }
func (l Layout) Kubeconfig() string         { return filepath.Join(l.State, "kubeconfig") }
func (l Layout) LockFile() string           { return filepath.Join(l.State, "lock") }
func (l Layout) PidFile() string            { return filepath.Join(l.State, "supervisor.pid") }
func (l Layout) PKI(name string) string     { return filepath.Join(l.State, "pki", name) }
func (l Layout) Etc(name string) string     { return filepath.Join(l.State, "etc", name) }
func (l Layout) Log(name string) string     { return filepath.Join(l.State, "logs", name+".log") }
func (l Layout) PauseImage() string         { return filepath.Join(l.State, "etc", "pause.tar") }
func (l Layout) EtcdData() string           { return filepath.Join(l.State, "etcd") }
func (l Layout) ContainerdRoot() string     { return filepath.Join(l.State, "containerd") }
func (l Layout) PodLogs() string            { return filepath.Join(l.State, "pods") }
func (l Layout) ContainerdState() string    { return filepath.Join(l.Run, "containerd") }
func (l Layout) ContainerdSocket() string   { return filepath.Join(l.Run, "containerd.sock") }
func (l Layout) ControlSocket() string      { return filepath.Join(l.Run, "control.sock") }
func (l Layout) ShimSockets() string        { return filepath.Join(l.Run, "s") }
func (l Layout) IPAM() string               { return filepath.Join(l.Run, "ipam") }
func (l Layout) RunningClusterFile() string { return filepath.Join(l.Run, "cluster.json") }
func (l Layout) Executable() string         { return filepath.Join(l.Bin, "devcluster") }
func (l Layout) Tool(name string) string    { return filepath.Join(l.Bin, name) }

// KubeletRoot is the folder of the pods' volumes. It is part of the state folder
// unless its longest socket would not fit there.
func (l Layout) KubeletRoot() string {
	root := filepath.Join(l.State, "kubelet")
	if len(filepath.Join(root, "pod-resources", "kubelet.sock")) <= maxSocketPath {
		return root
	}
	return filepath.Join(longStateRoot, l.ID, "kubelet")
}

// CgroupRoot is the cgroup that all pods of the cluster are in.
func (l Layout) CgroupRoot() string { return "/agentmarket-" + l.ID }

// NetworkName is the CNI network; libcni names its cache files after it.
func (l Layout) NetworkName() string { return "agentmarket-" + l.ID }

// makeFolders creates the folders that the components expect to find.
func (l Layout) makeFolders() error {
	for _, dir := range []string{
		l.State, l.PKI(""), l.Etc(""), l.Etc("cni"), l.Etc("certs.d/_default"), filepath.Dir(l.Log("x")),
		l.EtcdData(), l.ContainerdRoot(), l.PodLogs(), l.KubeletRoot(),
		l.Run, l.ContainerdState(), l.ShimSockets(), l.IPAM(),
	} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return fmt.Errorf("create folder: %w", err)
		}
	}
	for _, dir := range []string{l.PKI(""), l.Etc(""), l.EtcdData(), l.ShimSockets()} {
		if err := os.Chmod(dir, 0o700); err != nil {
			return fmt.Errorf("restrict folder: %w", err)
		}
	}
	return nil
}
