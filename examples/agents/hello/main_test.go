package main

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/examples/agents/agenttest"
)

// asAgent makes the test binary be the agent.
const asAgent = "HELLO_TEST_RUN=1"

func TestMain(m *testing.M) {
	if os.Getenv("HELLO_TEST_RUN") == "1" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestSample(t *testing.T) {
	m := agenttest.Manifest(t)
	input := agenttest.Read(t, "sample-input.json")
	require.NoError(t, agenttest.Valid(t, m.InputSchema, input))
	result, stderr, code := agenttest.Run(t, input, []string{asAgent}, os.Args[0])
	require.Equal(t, 0, code, stderr)
	require.NoError(t, agenttest.Valid(t, m.OutputSchema, result))
	require.JSONEq(t, string(agenttest.Read(t, "sample-output.json")), string(result))
}

func TestSchemaIsHonest(t *testing.T) {
	m := agenttest.Manifest(t)
	longest := strings.Repeat("é", 10240)
	for input, valid := range map[string]bool{
		`{"prompt":"` + longest + `"}`:                            true,
		`{"prompt":"` + longest + `é"}`:                           false,
		`{"prompt":"hi","sleep_seconds":3600}`:                    true,
		`{"prompt":"hi","sleep_seconds":3601}`:                    false,
		`{"prompt":"hi","sleep_seconds":0.5}`:                     false,
		`{"prompt":"hi","sleep_seconds":0,"ignore_sigterm":true}`: true,
		`{"prompt":"hi","ignore_sigterm":"yes"}`:                  false,
		`{"prompt":""}`:                                           false,
		`{}`:                                                      false,
		`{"prompt":"hi","other":1}`:                               false,
		`{"prompt":"<script>\u2028\ud83d\ude00 \"quoted\" \u0000 </script>"}`: true,
	} {
		err := agenttest.Valid(t, m.InputSchema, []byte(input))
		require.Equal(t, valid, err == nil, "%.60s: %v", input, err)
		if valid && !strings.Contains(input, "3600") {
			result, stderr, code := agenttest.Run(t, []byte(input), []string{asAgent}, os.Args[0])
			require.Equal(t, 0, code, stderr)
			require.NoError(t, agenttest.Valid(t, m.OutputSchema, result))
		}
	}
	require.Greater(t, m.Timeouts.RunSeconds, int64(3600), "the longest sleep fits into the run time")
}

func TestBadInput(t *testing.T) {
	for _, input := range []string{"", "{", `{}`, `{"prompt":7}`} {
		_, stderr, code := agenttest.Run(t, []byte(input), []string{asAgent}, os.Args[0])
		require.Equal(t, 1, code)
		require.Contains(t, stderr, "hello: ")
	}
}

// start runs a long sleep and waits until it sleeps.
func start(t *testing.T, input string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asAgent)
	cmd.Stdin = strings.NewReader(input)
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(stderr).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "sleeping for 3600 s\n", line)
	return cmd
}

func TestSIGTERMWakesIt(t *testing.T) {
	cmd := start(t, `{"prompt":"hi","sleep_seconds":3600}`)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.Error(t, cmd.Wait())
	require.Equal(t, 1, cmd.ProcessState.ExitCode())
}

func TestSIGTERMIgnored(t *testing.T) {
	cmd := start(t, `{"prompt":"hi","sleep_seconds":3600,"ignore_sigterm":true}`)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	require.Never(t, func() bool { return len(ended) > 0 }, 300*time.Millisecond, 10*time.Millisecond, "it sleeps on")
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, <-ended)
}
