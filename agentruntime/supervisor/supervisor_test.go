//go:build linux

package supervisor

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
	"agentmarket/ids"
	"agentmarket/internal/testenv"
)

// bench runs agents that are shell scripts, as an ordinary process.
type bench struct {
	Config
	stdout, stderr buffer
}

// newBench returns a bench whose agent is a script in a file of its own.
func newBench(t *testing.T, script string) *bench {
	t.Helper()
	dir := t.TempDir()
	work := filepath.Join(dir, "work")
	require.NoError(t, os.Mkdir(work, 0o700))
	input := filepath.Join(dir, "input.json")
	require.NoError(t, os.WriteFile(input, []byte(`{"name":"world"}`), 0o600))
	b := &bench{}
	b.Config = Config{
		Launch: agentruntime.Launch{
			Run: ids.New[ids.Run](ids.PrefixRun), Attempt: 1,
			RunTimeout: time.Minute, Grace: time.Minute,
			Command:   []string{"/bin/sh", "-c", script},
			InputFile: input, WorkDir: work, OutputFile: filepath.Join(work, ".agentmarket", "output.json"),
			TerminationLog: filepath.Join(dir, "termination-log"), CgroupDir: filepath.Join(dir, "cgroup"),
		},
		Environ: []string{"PATH=/usr/bin:/bin"},
		Stdout:  &b.stdout, Stderr: &b.stderr,
		diskFull: func(string) bool { return false },
	}
	return b
}

// run runs the agent and checks what holds for every ending: the envelope that
// is returned is the one in the termination log and agrees with the exit code.
func (b *bench) run(t *testing.T, ctx context.Context) (agentruntime.Envelope, agentruntime.ExitCode) {
	t.Helper()
	envelope, code := Supervisor{b.Config}.Run(ctx)
	data, err := os.ReadFile(b.TerminationLog)
	require.NoError(t, err)
	written, err := agentruntime.ParseEnvelope(data)
	require.NoError(t, err, "%s", data)
	require.Equal(t, envelope.Outcome, written.Outcome)
	require.Equal(t, b.Run, written.Run)
	outcome, known := code.Outcome()
	require.True(t, known)
	require.Equal(t, outcome, written.Outcome)
	return written, code
}

// body returns the result, inline or from the frames.
func (b *bench) body(t *testing.T, e agentruntime.Envelope) string {
	t.Helper()
	if e.Frame == "" {
		return string(e.Result)
	}
	body, err := agentruntime.ReadFrames(strings.NewReader(b.stdout.String()), e.Frame)
	require.NoError(t, err)
	require.NoError(t, e.VerifyBody(body))
	return string(body)
}

func (b *bench) outputFile(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(b.WorkDir, "seen"))
	require.NoError(t, err)
	return string(data)
}

// TestTheAgentComesBehindTheSupervisor: in what they share of the processor.
func TestTheAgentComesBehindTheSupervisor(t *testing.T) {
	b := newBench(t, `cut -d' ' -f19 /proc/self/stat`)
	before, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
	require.NoError(t, err)
	envelope, _ := b.run(t, t.Context())
	require.Equal(t, "19", string(envelope.Result))
	after, err := syscall.Getpriority(syscall.PRIO_PROCESS, os.Getpid())
	require.NoError(t, err)
	require.Equal(t, before, after)
}

// buffer is what an agent wrote so far.
type buffer struct{ testenv.Buffer }

// eventually waits for text in the agent's output.
func (b *buffer) eventually(t *testing.T, text string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(b.String(), text) }, 30*time.Second, time.Millisecond,
		"the agent says %q", text)
}

func TestResultRule(t *testing.T) {
	for _, c := range []struct{ name, script, result string }{
		{"file", `printf ' {"a" : 1}\n' > $AGENT_OUTPUT`, `{"a":1}`},
		{"last line of stdout", `echo working; echo '{"a":2}'`, `{"a":2}`},
		{"last line without newline", `echo working; printf '{"a":3}'`, `{"a":3}`},
		{"blank lines after it", `echo '{"a":4}'; echo; printf ' \t\r\n  '`, `{"a":4}`},
		{"file wins", `echo '{"a":6}' > $AGENT_OUTPUT; echo '{"a":5}'`, `{"a":6}`},
		{"empty file does not", `: > $AGENT_OUTPUT; echo '{"a":7}'`, `{"a":7}`},
		{"removed directory does not", `rmdir .agentmarket; echo '{"a":8}'`, `{"a":8}`},
		{"record separator", `printf '\036{"a":9}\n'`, `{"a":9}`},
		{"any JSON value", `echo null`, `null`},
		{"input as file and as stdin", `cmp -s - "$AGENT_INPUT" && cat "$AGENT_INPUT"`, `{"name":"world"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, c.script)
			e, code := b.run(t, t.Context())
			require.Equal(t, agentruntime.ExitOK, code, e.Message)
			require.Equal(t, c.result, string(e.Result))
			require.Empty(t, e.Frame)
			require.Empty(t, e.Message)
			require.Equal(t, 0, *e.ExitCode)
		})
	}
}

func TestNoResult(t *testing.T) {
	for _, c := range []struct {
		name, script string
		code         agentruntime.ExitCode
	}{
		{"nothing", `:`, agentruntime.ExitNoResult},
		{"blank", `echo; echo '  '`, agentruntime.ExitNoResult},
		{"only stderr", `echo '{}' >&2`, agentruntime.ExitNoResult},
		{"text", `echo done`, agentruntime.ExitInvalidResult},
		{"two values", `echo '{}{}'`, agentruntime.ExitInvalidResult},
		{"bad file", `echo '{' > $AGENT_OUTPUT; echo '{}'`, agentruntime.ExitInvalidResult},
		{"blank file", `echo > $AGENT_OUTPUT; echo '{}'`, agentruntime.ExitInvalidResult},
		{"no UTF-8", `printf '"\377"' > $AGENT_OUTPUT`, agentruntime.ExitInvalidResult},
		{"symbolic link", `echo '{}' > x; ln -s $PWD/x $AGENT_OUTPUT`, agentruntime.ExitInvalidResult},
		{"linked directory", `mkdir x; echo '{}' > x/output.json; rmdir .agentmarket; ln -s x .agentmarket`, agentruntime.ExitInvalidResult},
		{"FIFO", `mkfifo $AGENT_OUTPUT; echo '{}'`, agentruntime.ExitInvalidResult},
		{"directory", `mkdir $AGENT_OUTPUT; echo '{}'`, agentruntime.ExitInvalidResult},
		{"large file", `head -c 1001 /dev/zero > $AGENT_OUTPUT`, agentruntime.ExitInvalidResult},
		{"large line", `head -c 1001 /dev/zero | tr '\0' 1`, agentruntime.ExitInvalidResult},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, c.script)
			b.MaxResult = 1000
			e, code := b.run(t, t.Context())
			require.Equal(t, c.code, code, e.Message)
			require.NotEmpty(t, e.Message)
			require.Equal(t, 0, *e.ExitCode, "the agent itself exited 0")
		})
	}
}

func TestAgentFails(t *testing.T) {
	b := newBench(t, `echo '{}'; echo first >&2; printf 'the text is \033[31mempty\n\n' >&2; exit 3`)
	e, code := b.run(t, t.Context())
	require.Equal(t, agentruntime.ExitAgentError, code)
	require.Equal(t, 3, *e.ExitCode)
	require.Equal(t, "the agent exited with code 3: the text is  [31mempty", e.Message)
	require.Equal(t, int64(len("{}\n")), e.StdoutBytes)
	require.Empty(t, e.Result)
	require.Contains(t, b.stderr.String(), "first\n")
}

func TestAgentDiesOfSignal(t *testing.T) {
	b := newBench(t, `kill -SEGV $$`)
	e, code := b.run(t, t.Context())
	require.Equal(t, agentruntime.ExitAgentError, code)
	require.Nil(t, e.ExitCode)
	require.Equal(t, "SIGSEGV", e.Signal)
}

func TestLargeResultIsFramed(t *testing.T) {
	b := newBench(t, `printf 'partial' >&2; printf '{"x":"'; head -c 500000 /dev/zero | tr '\0' y; printf '"}'`)
	e, code := b.run(t, t.Context())
	require.Equal(t, agentruntime.ExitOK, code, e.Message)
	require.Len(t, e.Frame, 32)
	want := `{"x":"` + strings.Repeat("y", 500000) + `"}`
	require.Equal(t, want, b.body(t, e))
	require.Equal(t, "partial\n", b.stderr.String(), "open lines are ended before frames")
}

func TestAgentCannotForgeFrames(t *testing.T) {
	b := newBench(t, `printf '\036agentmarket-result x 0 AAAA\n\036\036agentmarket-result x end 1\n'; printf '\036' ; printf '\036agentmarket-result y 0 AAAA\n'; printf '\036' >&2; echo '{}'`)
	_, code := b.run(t, t.Context())
	require.Equal(t, agentruntime.ExitOK, code)
	require.Equal(t, "agentmarket-result x 0 AAAA\nagentmarket-result x end 1\nagentmarket-result y 0 AAAA\n{}\n", b.stdout.String())
	require.Empty(t, b.stderr.String())
}

func TestManyLogs(t *testing.T) {
	b := newBench(t, `head -c 10000000 /dev/zero; head -c 1000000 /dev/zero >&2; echo; echo '{"a":1}'`)
	e, code := b.run(t, t.Context())
	require.Equal(t, agentruntime.ExitOK, code, e.Message)
	require.Equal(t, `{"a":1}`, string(e.Result))
	require.Equal(t, int64(10000000+1+8), e.StdoutBytes)
	require.Equal(t, int64(1000000), e.StderrBytes)
}

func TestPartialLinesPassAtOnce(t *testing.T) {
	b := newBench(t, `printf 'Name? '; read -r x < go; echo '{}' > $AGENT_OUTPUT`)
	require.NoError(t, mkfifo(filepath.Join(b.WorkDir, "go")))
	done := make(chan agentruntime.ExitCode)
	go func() {
		_, code := Supervisor{b.Config}.Run(context.Background())
		done <- code
	}()
	b.stdout.eventually(t, "Name? ")
	require.NoError(t, os.WriteFile(filepath.Join(b.WorkDir, "go"), []byte("\n"), 0))
	require.Equal(t, agentruntime.ExitOK, <-done)
}

func TestEnvironment(t *testing.T) {
	b := newBench(t, `env | sort > seen; pwd -P > where; echo '{}'`)
	b.Environ = []string{"PATH=/bin:/usr/bin", "MODE=fast", "HOME=/root", "AGENT_RUN_ID=forged", "AGENT_SECRET=x",
		"KUBERNETES_SERVICE_HOST=10.0.0.1", "PWD=/", "OLDPWD=/"}
	e, code := b.run(t, t.Context())
	require.Equal(t, agentruntime.ExitOK, code, e.Message)
	env := strings.Split(strings.TrimSpace(b.outputFile(t)), "\n")
	require.Contains(t, env, "PATH=/bin:/usr/bin")
	require.Contains(t, env, "MODE=fast")
	require.Contains(t, env, "HOME="+b.WorkDir)
	require.Contains(t, env, "AGENT_RUN_ID="+string(b.Run))
	require.Contains(t, env, "AGENT_ATTEMPT=1")
	require.Contains(t, env, "AGENT_INPUT="+b.InputFile)
	require.Contains(t, env, "AGENT_OUTPUT="+b.OutputFile)
	require.Contains(t, env, "AGENT_DEADLINE="+e.StartedAt.Add(time.Minute).Format(time.RFC3339))
	text := strings.Join(env, "\n")
	for _, absent := range []string{"AGENT_SECRET", "KUBERNETES", "forged", "/root"} {
		require.NotContains(t, text, absent)
	}
	where, err := os.ReadFile(filepath.Join(b.WorkDir, "where"))
	require.NoError(t, err)
	require.Equal(t, b.WorkDir, strings.TrimSpace(string(where)))
}

// Nothing of a secret is in the log, the result, the message or the report.
func TestSecretsStayInside(t *testing.T) {
	const secret = "the-secret-value"
	for name, tt := range map[string]struct{ script, result, message string }{
		"printed and returned": {`echo "log the-secret-value"; printf 'the-secret' >&2; printf -- '-value' >&2; echo '"is the-secret-value"' > "$AGENT_OUTPUT"`, `"is [redacted]"`, ""},
		"the last line":        {`printf '"dGhlLXNlY3JldC12YWx1ZQ=="'`, `"[redacted]=="`, ""},
		"an error":             {`echo "no the-secret-value" >&2; exit 3`, "", "the agent exited with code 3: no [redacted]"},
		"nearly a secret":      {`printf '"the-secret-val'; printf '"'`, `"the-secret-val"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, tt.script)
			b.Redact = agentruntime.NewRedactor([]byte(secret + "\n"))
			envelope, _ := b.run(t, t.Context())
			require.Equal(t, tt.message, envelope.Message)
			if tt.result != "" {
				require.JSONEq(t, tt.result, b.body(t, envelope))
			}
			for _, text := range []string{b.stdout.String(), b.stderr.String()} {
				require.NotContains(t, text, secret)
				require.NotContains(t, text, "dGhlLXNlY3JldC12YWx1ZQ")
			}
		})
	}
}
