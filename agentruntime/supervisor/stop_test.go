//go:build linux

package supervisor

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
)

func mkfifo(path string) error { return syscall.Mkfifo(path, 0o600) }

// forever is shell for a process that does not end by itself.
const forever = `while :; do sleep 60 & wait $!; done`

func TestDeadline(t *testing.T) {
	b := newBench(t, `trap 'echo "{}"; exit 0' TERM; echo '{}'; `+forever)
	b.RunTimeout = 1500 * time.Millisecond // enough to set the trap on a busy computer
	e, code := b.run(t, t.Context())
	require.Equal(t, agentruntime.ExitDeadline, code)
	require.NotNil(t, e.ExitCode, "died of %s", e.Signal)
	require.Equal(t, 0, *e.ExitCode, "it tidied up and exited 0: still no success")
	require.Empty(t, e.Result)
	require.Contains(t, e.Message, "1.5s")
	require.NotContains(t, e.Message, "grace")
}

func TestDeadlineKillsWhoIgnoresSIGTERM(t *testing.T) {
	b := newBench(t, `trap '' TERM; echo '{}'; `+forever)
	b.RunTimeout, b.Grace = 1500*time.Millisecond, 200*time.Millisecond
	e, code := b.run(t, t.Context())
	require.Equal(t, agentruntime.ExitDeadline, code)
	require.Equal(t, "SIGKILL", e.Signal)
	require.Contains(t, e.Message, "grace")
}

func TestNoGraceKillsAtOnce(t *testing.T) {
	b := newBench(t, `trap 'exit 0' TERM; `+forever)
	b.RunTimeout, b.Grace = 200*time.Millisecond, 0
	e, code := b.run(t, t.Context())
	require.Equal(t, agentruntime.ExitDeadline, code)
	require.Equal(t, "SIGKILL", e.Signal)
}

func TestStoppedProcessIsKilled(t *testing.T) {
	b := newBench(t, `kill -STOP $$`)
	b.RunTimeout, b.Grace = 200*time.Millisecond, 100*time.Millisecond
	_, code := b.run(t, t.Context())
	require.Equal(t, agentruntime.ExitDeadline, code)
}

func TestTerminated(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		grace  time.Duration
		signal string
	}{
		"tidies up":       {`trap 'echo "{}"; exit 0' TERM; echo ready; ` + forever, time.Minute, ""},
		"default":         {`echo ready; ` + forever, time.Minute, "SIGTERM"},
		"ignores SIGTERM": {`trap '' TERM; echo ready; ` + forever, 100 * time.Millisecond, "SIGKILL"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, c.script)
			b.Grace = c.grace
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				b.stdout.eventually(t, "ready") //nolint:testifylint // a failure ends the wait, and the run shows it
				cancel()
			}()
			e, code := b.run(t, ctx)
			require.Equal(t, agentruntime.ExitTerminated, code)
			require.Equal(t, c.signal, e.Signal)
			require.Empty(t, e.Result)
		})
	}
}

func TestSIGTERMReachesTheWholeGroup(t *testing.T) {
	b := newBench(t, `trap 'wait; exit 0' TERM; sh -c 'trap "echo child got it >&2; exit 0" TERM; echo ready; `+forever+`' & wait`)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		b.stdout.eventually(t, "ready") //nolint:testifylint // a failure ends the wait, and the run shows it
		cancel()
	}()
	_, code := b.run(t, ctx)
	require.Equal(t, agentruntime.ExitTerminated, code)
	require.Contains(t, b.stderr.String(), "child got it")
}

func TestChildrenDieWithTheAgent(t *testing.T) {
	b := newBench(t, `(trap '' TERM HUP; echo $$; exec sleep 600) & echo $! > seen; echo '{}'`)
	b.DrainTimeout = time.Minute // the child holds the pipe: only its death ends it
	start := time.Now()
	_, code := b.run(t, t.Context())
	require.Equal(t, agentruntime.ExitOK, code)
	require.Less(t, time.Since(start), 30*time.Second)
	pid, err := strconv.Atoi(strings.TrimSpace(b.outputFile(t)))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return dead(pid) }, 10*time.Second, time.Millisecond, "the child is dead")
}

// dead reports whether a process is gone or a zombie (its new parent may take
// its time).
func dead(pid int) bool {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err != nil || strings.Contains(string(data), ") Z ")
}

func TestEscapedProcessDoesNotHang(t *testing.T) {
	b := newBench(t, `setsid sh -c 'echo $$ > seen; : > there; exec sleep 600' & while [ ! -e there ]; do sleep 0.01; done; echo '{}'`)
	b.DrainTimeout = 100 * time.Millisecond
	_, code := b.run(t, t.Context())
	pid, err := strconv.Atoi(strings.TrimSpace(b.outputFile(t)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	require.Equal(t, agentruntime.ExitOK, code)
	require.False(t, dead(pid), "outside of PID 1 it is out of reach")
}

func TestCommandCannotStart(t *testing.T) {
	for name, command := range map[string]func(dir string) string{
		"missing path":    func(dir string) string { return filepath.Join(dir, "missing") },
		"missing name":    func(string) string { return "no-such-program-anywhere" },
		"not executable":  func(dir string) string { return write(dir, "plain", "echo", 0o600) },
		"a directory":     func(dir string) string { return dir },
		"no interpreter":  func(dir string) string { return write(dir, "script", "#!/no/such/interpreter\n", 0o700) },
		"not a program":   func(dir string) string { return write(dir, "data", "\x00\x01", 0o700) },
		"found, not exec": func(dir string) string { write(dir, "tool", "x", 0o600); return "tool" },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, "")
			dir := t.TempDir()
			b.Environ = []string{"PATH=.:" + dir}
			b.Command = []string{command(dir)}
			e, code := b.run(t, t.Context())
			require.Equal(t, agentruntime.ExitConfigError, code, e.Message)
			require.Nil(t, e.ExitCode)
			require.Contains(t, e.Message, "cannot be started")
		})
	}
}

func write(dir, name, text string, mode os.FileMode) string {
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		panic(err)
	}
	return path
}

func TestCommandIsFoundInPATH(t *testing.T) {
	b := newBench(t, "")
	dir := t.TempDir()
	write(dir, "tool", "#!/bin/sh\necho '{\"tool\":true}'\n", 0o700)
	b.Environ = []string{"PATH=/nowhere:" + dir + ":/bin"}
	b.Command = []string{"tool"}
	e, code := b.run(t, t.Context())
	require.Equal(t, agentruntime.ExitOK, code, e.Message)
}

func TestInputMissing(t *testing.T) {
	b := newBench(t, `echo '{}'`)
	require.NoError(t, os.Remove(b.InputFile))
	e, code := b.run(t, t.Context())
	require.Equal(t, agentruntime.ExitInputMissing, code)
	require.Equal(t, agentruntime.PlatformError, e.Outcome)
}

func TestWorkDirectoryUnusable(t *testing.T) {
	b := newBench(t, `echo '{}'`)
	b.OutputFile = filepath.Join(b.InputFile, "output.json") // below a file
	_, code := b.run(t, t.Context())
	require.Equal(t, agentruntime.ExitPlatform, code)
}

func TestMemory(t *testing.T) {
	raise := `sed -i 's/oom_kill 2/oom_kill 3/' "$0"; `
	for name, c := range map[string]struct {
		file, script string
		code         agentruntime.ExitCode
	}{
		"killed, version 2":   {"memory.events", raise + `kill -KILL $$`, agentruntime.ExitAgentOOM},
		"killed, version 1":   {"memory/memory.oom_control", raise + `kill -KILL $$`, agentruntime.ExitAgentOOM},
		"child killed":        {"memory.events", raise + `exit 137`, agentruntime.ExitAgentOOM},
		"failed beside it":    {"memory.events", raise + `exit 1`, agentruntime.ExitAgentError},
		"succeeded beside it": {"memory.events", raise + `echo '{}'`, agentruntime.ExitOK},
		"killed by itself":    {"memory.events", `kill -KILL $$`, agentruntime.ExitAgentError},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, "")
			file := filepath.Join(b.CgroupDir, c.file)
			require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
			require.NoError(t, os.WriteFile(file, []byte("oom 1\nunder_oom 0\noom_kill 2\n"), 0o600))
			b.Command = []string{"/bin/sh", "-c", c.script, file}
			e, code := b.run(t, t.Context())
			require.Equal(t, c.code, code, e.Message)
			require.Equal(t, name == "failed beside it", strings.Contains(e.Message, "memory limit") && code == agentruntime.ExitAgentError)
		})
	}
}

func TestDisk(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		limit  int64
		full   bool
		code   agentruntime.ExitCode
	}{
		"agent filled it":  {`head -c 100000 /dev/zero > big; exit 1`, 65536, true, agentruntime.ExitAgentDisk},
		"limit not known":  {`exit 1`, 0, true, agentruntime.ExitAgentDisk},
		"others filled it": {`exit 1`, 1 << 30, true, agentruntime.ExitPlatform},
		"not full":         {`exit 1`, 0, false, agentruntime.ExitAgentError},
		"result all right": {`echo '{}'`, 0, true, agentruntime.ExitOK},
		"result cut off":   {`printf '{' > $AGENT_OUTPUT`, 0, true, agentruntime.ExitAgentDisk},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, c.script)
			b.DiskLimit = c.limit
			b.diskFull = func(string) bool { return c.full }
			e, code := b.run(t, t.Context())
			require.Equal(t, c.code, code, e.Message)
		})
	}
	require.False(t, diskFull("/no/such/directory"))
}

func TestPanicIsAPlatformError(t *testing.T) {
	b := newBench(t, `echo hello; `+forever)
	b.Stdout = writerFunc(func([]byte) (int, error) { panic("boom") })
	e, code := b.run(t, t.Context())
	require.Equal(t, agentruntime.ExitPlatform, code)
	require.Contains(t, e.Message, "boom")

	b = newBench(t, `exit 1`)
	b.diskFull = func(string) bool { panic("bang") }
	e, code = b.run(t, t.Context())
	require.Equal(t, agentruntime.ExitPlatform, code)
	require.Contains(t, e.Message, "bang")
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestLogThatFails(t *testing.T) {
	broken := writerFunc(func([]byte) (int, error) { return 0, errors.New("disk gone") })
	b := newBench(t, `echo lost; echo '{}'`)
	b.Stdout = broken
	_, code := b.run(t, t.Context())
	require.Equal(t, agentruntime.ExitOK, code, "an inline result does not need the log")

	b = newBench(t, `printf '"'; head -c 5000 /dev/zero | tr '\0' y; echo '"'`)
	b.Stdout = broken
	_, code = b.run(t, t.Context())
	require.Equal(t, agentruntime.ExitPlatform, code, "a framed one does")
}

func TestLogThatBlocks(t *testing.T) {
	r, w := io.Pipe() // nobody reads it
	defer r.Close()
	b := newBench(t, `echo hello; echo '{}'`)
	b.Stdout, b.DrainTimeout, b.WriteTimeout = w, 50*time.Millisecond, 50*time.Millisecond
	e, code := b.run(t, t.Context())
	require.Equal(t, agentruntime.ExitPlatform, code)
	require.Contains(t, e.Message, "log")
}

func TestTerminationLogIsTheSupervisorsAlone(t *testing.T) {
	b := newBench(t, "")
	b.Command = []string{"/bin/sh", "-c", `head -c 100000 /dev/zero > "$0"; echo '{}'`, b.TerminationLog}
	_, code := b.run(t, t.Context())
	require.Equal(t, agentruntime.ExitOK, code)
}

func TestNoEnvelopeNoPromise(t *testing.T) {
	b := newBench(t, `echo '{}'`)
	b.TerminationLog = filepath.Join(b.WorkDir, "no", "such", "dir")
	_, code := Supervisor{b.Config}.Run(t.Context())
	require.Equal(t, agentruntime.ExitPlatform, code)
	require.Contains(t, b.stderr.String(), "termination log")

	b = newBench(t, `echo '{}'`)
	b.Run = "nonsense"
	_, code = Supervisor{b.Config}.Run(t.Context())
	require.Equal(t, agentruntime.ExitPlatform, code)
}

func TestLastLineIsBounded(t *testing.T) {
	l := newLastLine(10)
	for range 1000 {
		l.write([]byte(strings.Repeat("x", 1000)))
	}
	line, over := l.get()
	require.Equal(t, strings.Repeat("x", 10), string(line))
	require.True(t, over)
	require.LessOrEqual(t, cap(l.current.text), 64)
	l.write([]byte("\nshort\n"))
	line, over = l.get()
	require.Equal(t, "short", string(line))
	require.False(t, over)
	l.write([]byte("   "))
	line, _ = l.get()
	require.Equal(t, "short", string(line))
}
