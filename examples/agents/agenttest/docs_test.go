package agenttest_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"agentmarket/agentruntime"
	"agentmarket/examples/agents/agenttest"
)

const guide = "../../../docs/agents.md"

// block returns the first fenced block of a language that contains a text.
func block(t *testing.T, language, containing string) string {
	t.Helper()
	for i, part := range strings.Split(string(agenttest.Read(t, guide)), "```") {
		if body, ok := strings.CutPrefix(part, language+"\n"); ok && i%2 == 1 && strings.Contains(body, containing) {
			return body
		}
	}
	require.Fail(t, "the guide has no such block", "%s with %q", language, containing)
	return ""
}

// The minimal agents of the guide work as they are printed.
func TestGuideAgents(t *testing.T) {
	dir := t.TempDir()
	save := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	binary := filepath.Join(dir, "greeter")
	build := exec.Command("go", "build", "-o", binary, save("main.go", block(t, "go", "package main")))
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	for name, command := range map[string][]string{
		"go":     {binary},
		"shell":  {"sh", save("agent.sh", block(t, "sh", "#!/bin/sh"))},
		"python": {"python3", save("agent.py", block(t, "python", "import json"))},
	} {
		t.Run(name, func(t *testing.T) {
			result, stderr, code := agenttest.Run(t, []byte(`{"name": "Ada"}`), nil, command[0], command[1:]...)
			require.Equal(t, 0, code, stderr)
			require.JSONEq(t, `{"greeting": "Hello, Ada!"}`, string(result))
			_, _, code = agenttest.Run(t, []byte(`[`), nil, command[0], command[1:]...)
			require.NotEqual(t, 0, code)
		})
	}
}

// The manifest of the guide is valid and names the real defaults.
func TestGuideManifest(t *testing.T) {
	data, err := yaml.YAMLToJSONStrict([]byte(block(t, "yaml", "api_version")))
	require.NoError(t, err)
	m, err := agentruntime.ParseManifest(data)
	require.NoError(t, err)
	require.Equal(t, agentruntime.DefaultResources(), m.Resources)
	require.Equal(t, agentruntime.DefaultTimeouts(), m.Timeouts)
}

// The table of the guide is the table of the package.
func TestGuideOutcomes(t *testing.T) {
	text := string(agenttest.Read(t, guide))
	for _, row := range agentruntime.Outcomes() {
		require.Contains(t, text, fmt.Sprintf("| `%s` | %d |", row.Outcome, row.Code))
	}
}
