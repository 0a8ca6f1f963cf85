//go:build linux

package main

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
	"agentmarket/ids"
)

const maxBinary = 10 << 20

// build makes the binary as the images do.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent-runtime")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return path
}

func TestBinary(t *testing.T) {
	binary := build(t)

	t.Run("is small and static", func(t *testing.T) {
		info, err := os.Stat(binary)
		require.NoError(t, err)
		require.Less(t, info.Size(), int64(maxBinary))
		file, err := elf.Open(binary)
		require.NoError(t, err)
		defer file.Close()
		for _, p := range file.Progs {
			require.NotEqual(t, elf.PT_INTERP, p.Type, "it needs no dynamic linker")
		}
	})

	t.Run("installs itself", func(t *testing.T) {
		dir := t.TempDir()
		require.NoError(t, exec.Command(binary, "install", dir).Run())
		installed := filepath.Join(dir, "agent-runtime")
		require.NoError(t, exec.Command(installed, "install", dir).Run(), "the copy works and may be replaced")
		info, err := os.Stat(installed)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o555), info.Mode())
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, entries, 1)
		require.Equal(t, agentruntime.ExitPlatform, exitCode(exec.Command(binary, "install", filepath.Join(dir, "missing")).Run()))
	})

	t.Run("refuses wrong use", func(t *testing.T) {
		for _, args := range [][]string{{}, {"nonsense"}, {"exit", "now"}, {"install"}, {"run"}, {"run", "--run-id=x", "--", "true"}} {
			require.Equal(t, agentruntime.ExitPlatform, exitCode(exec.Command(binary, args...).Run()), "%q", args)
		}
		require.NoError(t, exec.Command(binary, "run", "--help").Run())
		require.NoError(t, exec.Command(binary, "exit").Run())
	})

	t.Run("runs an agent", func(t *testing.T) {
		a := newAgent(t, binary, `cat`, false)
		require.Equal(t, agentruntime.ExitOK, exitCode(a.cmd.Run()), a.log.String())
		require.Equal(t, `{"a":1}`, string(a.envelope(t).Result))
	})

	t.Run("forwards SIGTERM", func(t *testing.T) {
		a := newAgent(t, binary, `trap 'exit 0' TERM; echo ready; while :; do sleep 60 & wait $!; done`, false)
		out, err := a.cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, a.cmd.Start())
		_, err = io.ReadFull(out, make([]byte, len("ready\n")))
		require.NoError(t, err)
		require.NoError(t, a.cmd.Process.Signal(syscall.SIGTERM))
		require.Equal(t, agentruntime.ExitTerminated, exitCode(a.cmd.Wait()))
		require.Equal(t, agentruntime.Terminated, a.envelope(t).Outcome)
	})

	// An agent has the same user as the supervisor and may signal it.
	t.Run("survives signals of the agent", func(t *testing.T) {
		a := newAgent(t, binary, `for s in HUP QUIT ILL TRAP ABRT BUS FPE USR1 SEGV USR2 PIPE ALRM TSTP TTIN TTOU XCPU XFSZ VTALRM IO PWR SYS; do
			kill -s $s $PPID || exit 1; done; kill -16 $PPID; kill -35 $PPID; echo '{}'`, false)
		require.Equal(t, agentruntime.ExitOK, exitCode(a.cmd.Run()), a.log.String())
	})

	t.Run("gives the agent default signals", func(t *testing.T) {
		a := newAgent(t, binary, `grep -q '^SigIgn:.*0$' /proc/self/status && kill -PIPE $$`, false)
		require.Equal(t, agentruntime.ExitAgentError, exitCode(a.cmd.Run()), a.log.String())
		require.Equal(t, "SIGPIPE", a.envelope(t).Signal)
	})

	t.Run("is closed to the agent", func(t *testing.T) {
		a := newAgent(t, binary, `cat /proc/$PPID/environ >/dev/null 2>&1 && exit 1; ls /proc/$PPID/fd/ >/dev/null 2>&1 && exit 2; cat /proc/self/environ >/dev/null || exit 3; echo '{}'`, true)
		require.Equal(t, agentruntime.ExitOK, exitCode(a.cmd.Run()), a.log.String())
	})
}

// As PID 1 of a PID namespace of its own, which is where it lives in a pod.
func TestPID1(t *testing.T) {
	binary := build(t)
	asPID1 := func(t *testing.T, script string) *agent {
		a := newAgent(t, binary, script, false)
		a.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
		if os.Getuid() != 0 {
			a.cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
			a.cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		}
		return a
	}
	t.Run("reaps orphans", func(t *testing.T) {
		a := asPID1(t, `i=0; while [ $i -lt 50 ]; do (true & exec true); i=$((i+1)); done
			echo ready; while [ ! -e go ]; do sleep 0.01; done; [ $PPID = 1 ] && echo '{}'`)
		out, err := a.cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, a.cmd.Start())
		_, err = io.ReadFull(out, make([]byte, len("ready\n")))
		require.NoError(t, err)
		require.Eventually(t, func() bool { return zombiesOf(t, a.cmd.Process.Pid) == 0 }, 20*time.Second, 5*time.Millisecond,
			"the orphans of a living agent are reaped")
		require.NoError(t, os.WriteFile(filepath.Join(a.workDir, "go"), nil, 0o600))
		_, err = io.Copy(io.Discard, out)
		require.NoError(t, err)
		require.Equal(t, agentruntime.ExitOK, exitCode(a.cmd.Wait()), a.log.String())
	})

	t.Run("kills who escaped the group", func(t *testing.T) {
		a := asPID1(t, `setsid sh -c ': > there; exec sleep 600' & while [ ! -e there ]; do sleep 0.01; done; echo '{}'`)
		start := time.Now()
		require.Equal(t, agentruntime.ExitOK, exitCode(a.cmd.Run()), a.log.String())
		require.Less(t, time.Since(start), 30*time.Second)
	})

	t.Run("stays when the agent kills everything", func(t *testing.T) {
		a := asPID1(t, `kill -KILL 1; kill -STOP 1; kill -KILL -1; echo '{}'`)
		require.Contains(t, []agentruntime.ExitCode{agentruntime.ExitOK, agentruntime.ExitAgentError}, exitCode(a.cmd.Run()))
		a.envelope(t)
	})
}

// zombiesOf counts the dead children of a process that nobody waited for.
func zombiesOf(t *testing.T, pid int) int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	n := 0
	for _, file := range stats {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // it ended meanwhile
		}
		// pid (name) state ppid …; the name may contain anything.
		after := string(data[bytes.LastIndexByte(data, ')')+1:])
		if strings.HasPrefix(after, fmt.Sprintf(" Z %d ", pid)) {
			n++
		}
	}
	return n
}

// agent is one run of the binary.
type agent struct {
	cmd                     *exec.Cmd
	log                     bytes.Buffer
	workDir, terminationLog string
}

// newAgent prepares a run of a script; otherUser makes it an unprivileged user,
// if this is root, whose privileges would hide what is closed.
func newAgent(t *testing.T, binary, script string, otherUser bool) *agent {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent-runtime-test-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	a := &agent{terminationLog: filepath.Join(dir, "termination-log")}
	work := filepath.Join(dir, "work")
	a.workDir = work
	require.NoError(t, os.Mkdir(work, 0o777))
	input := filepath.Join(dir, "input.json")
	require.NoError(t, os.WriteFile(input, []byte(`{"a":1}`), 0o644))
	require.NoError(t, os.WriteFile(a.terminationLog, nil, 0o666))
	// A runner may be root below a closed directory: the copy is beside the rest.
	program, err := os.ReadFile(binary)
	require.NoError(t, err)
	copied := filepath.Join(dir, "agent-runtime")
	require.NoError(t, os.WriteFile(copied, program, 0o755))
	for path, mode := range map[string]os.FileMode{dir: 0o755, work: 0o777, a.terminationLog: 0o666} {
		require.NoError(t, os.Chmod(path, mode))
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	a.cmd = exec.CommandContext(ctx, copied, agentruntime.Launch{
		Run: ids.New[ids.Run](ids.PrefixRun), Attempt: 1, RunTimeout: 30 * time.Second, Grace: 10 * time.Second,
		Command:   []string{"/bin/sh", "-c", script},
		InputFile: input, WorkDir: work, OutputFile: filepath.Join(work, ".agentmarket", "output.json"),
		TerminationLog: a.terminationLog,
	}.Args()...)
	a.cmd.Stderr = &a.log
	a.cmd.Dir = "/"
	if otherUser && os.Getuid() == 0 {
		a.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 64321, Gid: 64321}}
	}
	return a
}

func (a *agent) envelope(t *testing.T) agentruntime.Envelope {
	t.Helper()
	data, err := os.ReadFile(a.terminationLog)
	require.NoError(t, err)
	e, err := agentruntime.ParseEnvelope(data)
	require.NoError(t, err, "%s", strings.ToValidUTF8(string(data), "?"))
	return e
}

func exitCode(err error) agentruntime.ExitCode {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return agentruntime.ExitOK
	case errors.As(err, &exit):
		return agentruntime.ExitCode(exit.ExitCode())
	default:
		return -1
	}
}
