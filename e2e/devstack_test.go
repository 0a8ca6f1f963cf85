package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/internal/testenv"
)

// devstack is what `make run` starts, with a state folder of its own, on the
// cluster of the tests.
type devstack struct {
	testenv.Dev
	*testenv.Process
	program testenv.Program
	dir     string
}

func startDevstack(t *testing.T) *devstack {
	t.Helper()
	d := &devstack{Dev: testenv.NewDev(t), dir: t.TempDir()}
	port := func() string { return strconv.Itoa(testenv.FreePort(t)) }
	d.program = testenv.Program{
		Name: "devstack", Path: filepath.Join(d.Bin, "devstack"), Dir: "..", Ready: "It works.",
		Args: []string{"up", "-dir", filepath.Join(d.dir, ".dev"), "-bin", d.Bin,
			"-cluster-state", d.ClusterState, "-keep-cluster",
			"-api-port", port(), "-ui-port", port(), "-temporal-port", port(), "-temporal-http-port", port()},
	}
	require.NoError(t, os.Mkdir(filepath.Join(d.dir, ".dev"), 0o750))
	d.start(t)
	return d
}

func (d *devstack) start(t *testing.T) {
	t.Helper()
	d.Process = d.Start(t, d.program)
	d.WaitReady(t)
}

// shell runs a script as a person in another shell would, and returns what it
// printed.
func (d *devstack) shell(t *testing.T, script string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = d.dir // its .dev/env is the one of this stack
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s\n%s", script, out)
	return string(out)
}

var shellBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")

// TestDevstack is one after the other: both stacks have the namespace of `make run`.
func TestDevstack(t *testing.T) {
	beside(t)
	t.Run("every command of the README", followReadme)
	t.Run("kill -9 in the middle of a run", killDevstack)
}

// followReadme runs every command of the README, in its order, in one shell.
func followReadme(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	var script strings.Builder
	blocks := shellBlock.FindAllStringSubmatch(string(text), -1)
	require.GreaterOrEqual(t, len(blocks), 5)
	for _, block := range blocks {
		script.WriteString(block[1])
	}
	d := startDevstack(t)
	out := d.shell(t, script.String())
	require.Contains(t, out, "good morning", "the result of the run")
	require.Contains(t, out, `"job_name"`, "the answer of schedule-job")
	require.Regexp(t, `job\.batch/run-\S+ +Running`, out, "kubectl shows the Job")
	require.Contains(t, out, `"reason":"changed my mind"`)
	require.Regexp(t, `"status":"cancel(ing|ed)"`, out)
	require.NotContains(t, out, "https://agentmarket.dev/problems/", "no command was refused")
	d.Stop(t)
}

// killDevstack: kill -9 of the stack in the middle of a run, then the next start
// finishes that run, once.
func killDevstack(t *testing.T) {
	d := startDevstack(t)
	out := d.shell(t, `source .dev/env
curl -sSf -X POST "$AGENTMARKET_URL/v1/agents/examples/hello/runs" -H "Authorization: Bearer $AGENTMARKET_API_KEY" \
  -H 'Content-Type: application/json' -d '{"input": {"prompt": "survivor", "sleep_seconds": 5}}'
for i in $(seq 100); do kubectl -n agentmarket-runs get pods | grep -q Running && break; sleep 0.1; done`)
	run := regexp.MustCompile(`run_[0-9a-z]{26}`).FindString(out)
	require.NotEmpty(t, run)
	d.Kill()
	d.start(t)
	look := `source .dev/env; curl -sSf "$AGENTMARKET_URL/v1/runs/` + run + `" -H "Authorization: Bearer $AGENTMARKET_API_KEY"`
	require.Eventually(t, func() bool {
		return strings.Contains(d.shell(t, look), `"status":"succeeded"`)
	}, 2*time.Minute, 200*time.Millisecond, "the run ends")
	end := d.shell(t, look)
	require.Contains(t, end, "survivor")
	require.Equal(t, 1, strings.Count(end, `"number":`), "one attempt: %s", end)
	d.Stop(t)
}
