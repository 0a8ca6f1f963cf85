//go:build linux

package main

import (
	"encoding/base64"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"agentmarket/agentruntime"
)

// identify looks at what this process may do, and tries to write where it may not.
func identify() agentruntime.ProbedIdentity {
	status, _ := os.ReadFile("/proc/self/status")
	fields := statusFields(string(status))
	p := agentruntime.ProbedIdentity{
		UID: os.Getuid(), GID: os.Getgid(), Seccomp: fields["Seccomp"], NoNewPrivs: fields["NoNewPrivs"],
	}
	for _, set := range []string{"CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"} {
		if fields[set] != "" {
			p.Capabilities = append(p.Capabilities, fields[set])
		}
	}
	for _, dir := range []string{"/", "/etc", "/usr", "/bin", "/var", "/proc/sys/kernel", "/sys", agentruntime.RuntimeDir, agentruntime.InputDir} {
		if writable(dir) {
			p.Written = append(p.Written, dir)
		}
	}
	users, _ := os.ReadFile("/proc/self/uid_map")
	p.UserMapped = userMapped(string(users))
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	p.Kernel = strings.TrimSpace(string(release))
	if token, err := os.ReadFile(agentruntime.TokenFile); err == nil {
		p.Audiences, p.TokenSeconds = claims(string(token))
	}
	for _, dir := range []string{"/var/run/secrets", "/run/secrets"} {
		_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() && len(p.OtherTokens) < 10 {
				p.OtherTokens = append(p.OtherTokens, path)
			}
			return nil
		})
	}
	return p
}

// statusFields reads the first word of each line of /proc/self/status.
func statusFields(status string) map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(status) {
		name, rest, _ := strings.Cut(line, ":")
		if words := strings.Fields(rest); len(words) > 0 {
			fields[name] = words[0]
		}
	}
	return fields
}

func writable(dir string) bool {
	file, err := os.CreateTemp(dir, "probe")
	if err != nil {
		return false
	}
	_ = file.Close()
	_ = os.Remove(file.Name())
	return true
}

// userMapped reports whether a user of the container is another one on the node: only
// the identity maps all of them onto themselves.
func userMapped(users string) bool {
	fields := strings.Fields(users)
	return len(fields) >= 3 && (fields[0] != "0" || fields[1] != "0")
}

// claims reads whom a token is for, and how long. Nothing else of it is looked at.
func claims(token string) (audiences []string, seconds int64) {
	parts := strings.Split(strings.TrimSpace(token), ".")
	if len(parts) != 3 {
		return nil, 0
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, 0
	}
	var body struct {
		Audiences []string `json:"aud"`
		IssuedAt  int64    `json:"iat"`
		ExpiresAt int64    `json:"exp"`
	}
	if json.Unmarshal(text, &body) != nil {
		return nil, 0
	}
	return body.Audiences, body.ExpiresAt - body.IssuedAt
}

// startProcesses starts processes until the system refuses, and ends them.
func startProcesses() (p agentruntime.ProbedProcesses) {
	for _, file := range []string{"/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"} {
		if text, err := os.ReadFile(file); err == nil {
			p.Limit, _ = strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var children []int
	for p.Started < agentruntime.MaxProbeProcesses {
		pid, errno := fork()
		if errno != 0 {
			p.Refused = errno == syscall.EAGAIN
			break
		}
		children = append(children, pid)
		p.Started++
	}
	for _, pid := range children {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	for _, pid := range children {
		_, _ = syscall.Wait4(pid, nil, 0, nil)
	}
	return p
}

// fork starts a process that does nothing. It has no memory of its own but what it
// touches, and calls nothing of the Go runtime, which does not work in it.
//
//go:norace
//go:nosplit
func fork() (int, syscall.Errno) {
	pid, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	for errno == 0 && pid == 0 {
		_, _, _ = syscall.RawSyscall6(syscall.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
	}
	return int(pid), errno
}

// fillDisk writes more than it may, and gives whoever should end it the time to do so.
func fillDisk(size int64) {
	file, err := os.Create(filepath.Join(agentruntime.WorkDir, "filling"))
	if err != nil {
		return
	}
	defer file.Close()
	for piece := make([]byte, 1<<20); size > 0; size -= int64(len(piece)) {
		if _, err := file.Write(piece); err != nil {
			break
		}
	}
	_ = file.Sync()
	<-time.After(fillPatience)
}

// fillPatience is more than the kubelet needs to notice: it looks at disks once a minute.
const fillPatience = 100 * time.Second
