package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// processMarker is in the environment of every process of a cluster, its
// containerd-shims included (containerd hands its environment to them), and of no
// other: /proc tells whose a process is even when every pid file is lost.
const processMarker = "AGENTMARKET_DEVCLUSTER"

// shimName is the program that outlives containerd and holds a pod's processes.
const shimName = "containerd-shim-runc-v2"

// process is one running process of a cluster.
type process struct {
	pid  int
	name string // component's name, or the program's where it is none of ours
}

func (p process) isShim() bool { return p.name == shimName }

// componentEnv is the whole environment of a process of the cluster. Nothing is
// inherited: a proxy variable would send containerd's pulls out of the machine.
func componentEnv(l Layout) []string {
	return []string{
		processMarker + "=" + l.ID,
		"PATH=" + l.Bin + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + l.State,
		"LANG=C.UTF-8",
	}
}

// clusterProcesses finds the processes of a cluster by their environment.
func clusterProcesses(id string) ([]process, error) {
	paths, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var found []process
	for _, path := range paths {
		environ, err := os.ReadFile(path)
		if err != nil {
			continue // it ended meanwhile
		}
		if !hasEnv(environ, processMarker+"="+id) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil || pid == os.Getpid() {
			continue
		}
		found = append(found, process{pid: pid, name: processName(pid)})
	}
	return found, nil
}

func hasEnv(environ []byte, entry string) bool {
	for e := range bytes.SplitSeq(environ, []byte{0}) {
		if string(e) == entry {
			return true
		}
	}
	return false
}

// processName is the component's name for a re-executed devcluster and the
// program's base name for everything else.
func processName(pid int) string {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return ""
	}
	args := strings.Split(string(raw), "\x00")
	name := filepath.Base(args[0])
	if name == "devcluster" && len(args) > 1 {
		return args[1]
	}
	return name
}

// killProcesses sends SIGKILL to the processes and waits until they are gone.
func killProcesses(list []process, timeout time.Duration) error {
	for _, p := range list {
		if err := syscall.Kill(p.pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("kill %s (pid %d): %w", p.name, p.pid, err)
		}
	}
	deadline := time.Now().Add(timeout)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for _, p := range list {
		for alive(p.pid) {
			if time.Now().After(deadline) {
				return fmt.Errorf("kill %s (pid %d): still there after %s", p.name, p.pid, timeout)
			}
			<-tick.C
		}
	}
	return nil
}

// alive says whether a process runs; a zombie does not.
func alive(pid int) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	// The state follows the program's name, which is in parentheses and may itself
	// contain any byte.
	end := bytes.LastIndexByte(raw, ')')
	return end >= 0 && len(raw) > end+2 && raw[end+2] != 'Z' && raw[end+2] != 'X'
}
