package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const cgroupFS = "/sys/fs/cgroup"

// cgroupHierarchies lists the mount points of all cgroup hierarchies: one with
// cgroup v2, one a controller with v1, both with hybrid.
func cgroupHierarchies() ([]string, error) {
	raw, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	var found []string
	for line := range strings.Lines(string(raw)) {
		fields := strings.Fields(line)
		if len(fields) > 2 && strings.HasPrefix(fields[1], cgroupFS) && (fields[2] == "cgroup" || fields[2] == "cgroup2") {
			found = append(found, fields[1])
		}
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

// makeCgroup creates a cgroup in every hierarchy: the kubelet wants its root to
// exist.
func makeCgroup(name string) error {
	hierarchies, err := cgroupHierarchies()
	if err != nil {
		return err
	}
	for _, mount := range hierarchies {
		dir := filepath.Join(mount, name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("create cgroup: %w", err)
		}
		// A new cpuset (v1) is empty, and no process can enter it.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			if err := inheritCpuset(mount, dir, file); err != nil {
				return err
			}
		}
	}
	// With v2 a child has only the controllers that its parent hands down.
	if _, err := os.Stat(filepath.Join(cgroupFS, "cgroup.controllers")); err == nil {
		return handDownControllers(filepath.Join(cgroupFS, name))
	}
	return nil
}

func inheritCpuset(parent, child, file string) error {
	have, err := os.ReadFile(filepath.Join(child, file))
	if err != nil || len(bytes.TrimSpace(have)) > 0 {
		return nil //nolint:nilerr // another controller, or set already
	}
	value, err := os.ReadFile(filepath.Join(parent, file))
	if err != nil {
		return nil //nolint:nilerr // v2's root has no such file, and its children need none
	}
	if err := os.WriteFile(filepath.Join(child, file), value, 0o644); err != nil {
		return fmt.Errorf("set cpuset of cgroup: %w", err)
	}
	return nil
}

func handDownControllers(dir string) error {
	for _, d := range []string{filepath.Dir(dir), dir} {
		raw, err := os.ReadFile(filepath.Join(d, "cgroup.controllers"))
		if err != nil {
			return fmt.Errorf("read cgroup controllers: %w", err)
		}
		for _, controller := range strings.Fields(string(raw)) {
			err := os.WriteFile(filepath.Join(d, "cgroup.subtree_control"), []byte("+"+controller), 0o644)
			if err != nil && d == dir {
				return fmt.Errorf("hand down cgroup controller %s: %w", controller, err)
			}
		}
	}
	return nil
}

// removeCgroup kills what is left in a cgroup and removes it with its children.
func removeCgroup(name string) error {
	hierarchies, err := cgroupHierarchies()
	if err != nil {
		return err
	}
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for _, mount := range hierarchies {
		dir := filepath.Join(mount, name)
		for {
			err := removeCgroupTree(dir)
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("remove cgroup: %w", err)
			}
			<-tick.C // killed processes leave in their own time
		}
	}
	return nil
}

// removeCgroupTree removes the children first; cgroups cannot be unlinked like
// folders because their files cannot.
func removeCgroupTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list cgroup: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeCgroupTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := killCgroup(dir); err != nil {
		return err
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove cgroup: %w", err)
	}
	return nil
}

func killCgroup(dir string) error {
	raw, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list processes of cgroup: %w", err)
	}
	for field := range strings.FieldsSeq(string(raw)) {
		pid, err := strconv.Atoi(field)
		if err != nil || pid <= 0 {
			continue // 0 is a process of another PID namespace
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("kill process of cgroup: %w", err)
		}
	}
	return nil
}
