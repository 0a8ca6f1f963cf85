package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// addressLabel marks the node's address among those of the loopback interface
// (15 bytes at most).
func addressLabel(id string) string { return "lo:am-" + id }

// addNodeAddress gives the machine the node's address. It is on the loopback
// interface because that one always exists, needs no kernel module and does not
// change with the machine's network.
func addNodeAddress(ctx context.Context, c Cluster) error {
	if err := removeNodeAddress(ctx, c.ID); err != nil {
		return err
	}
	if err := run(ctx, "", "ip", "address", "add", c.NodeIP+"/32", "dev", "lo", "label", addressLabel(c.ID)); err != nil {
		return fmt.Errorf("add node address: %w", err)
	}
	return nil
}

func removeNodeAddress(ctx context.Context, id string) error {
	if err := run(ctx, "", "ip", "address", "flush", "dev", "lo", "label", addressLabel(id)); err != nil {
		return fmt.Errorf("remove node address: %w", err)
	}
	return nil
}

// changedSysctls are set by kubelet (all but the first) and by the CNI plugin ptp.
var changedSysctls = []string{
	"net/ipv4/ip_forward",
	"vm/overcommit_memory",
	"vm/panic_on_oom",
	"kernel/panic",
	"kernel/panic_on_oops",
	"kernel/keys/root_maxkeys",
	"kernel/keys/root_maxbytes",
}

// sysctlRecord keeps the machine's values from before its first cluster.
func sysctlRecord() string { return filepath.Join(runRoot, "sysctls.json") }

// recordSysctls remembers the values unless another cluster did before.
func recordSysctls() error {
	if _, err := os.Stat(sysctlRecord()); err == nil {
		return nil
	}
	values := map[string]string{}
	for _, name := range changedSysctls {
		raw, err := os.ReadFile("/proc/sys/" + name)
		if err != nil {
			continue // not on this kernel
		}
		values[name] = strings.TrimSpace(string(raw))
	}
	raw, err := json.Marshal(values)
	if err != nil {
		return fmt.Errorf("encode sysctls: %w", err)
	}
	return writeFile(sysctlRecord(), raw, 0o600)
}

// restoreSysctls puts the values back when no cluster is left on the machine.
func restoreSysctls() error {
	running, err := runningClusters()
	if err != nil || len(running) > 0 {
		return err
	}
	raw, err := os.ReadFile(sysctlRecord())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read recorded sysctls: %w", err)
	}
	values := map[string]string{}
	if err := json.Unmarshal(raw, &values); err != nil {
		return fmt.Errorf("decode recorded sysctls: %w", err)
	}
	for name, value := range values {
		if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0o644); err != nil {
			return fmt.Errorf("restore sysctl: %w", err)
		}
	}
	if err := os.Remove(sysctlRecord()); err != nil {
		return fmt.Errorf("remove recorded sysctls: %w", err)
	}
	return nil
}

// chooseSnapshotter tries an overlay mount in containerd's folder. It fails where
// that folder is itself on an overlay (a container); there the images are copied.
func chooseSnapshotter(l Layout) (string, error) {
	dir, err := os.MkdirTemp(l.ContainerdRoot(), "overlay-check-*")
	if err != nil {
		return "", fmt.Errorf("create folder for overlay check: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			return "", fmt.Errorf("create folder for overlay check: %w", err)
		}
	}
	options := fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", dir)
	merged := filepath.Join(dir, "merged")
	if err := unix.Mount("overlay", merged, "overlay", 0, options); err != nil {
		return "native", nil
	}
	if err := unix.Unmount(merged, 0); err != nil {
		return "", fmt.Errorf("end overlay check: %w", err)
	}
	return "overlayfs", nil
}

// lockFile holds a file's lock until the returned function is called. Waiting
// makes two commands on one cluster follow each other.
func lockFile(path string) (func(), error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
		return nil, fmt.Errorf("create folder of lock: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("take lock %s: %w", path, err), f.Close())
	}
	return func() { f.Close() }, nil
}
