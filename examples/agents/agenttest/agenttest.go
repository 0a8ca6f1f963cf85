// Package agenttest checks example agents against their own manifests: it reads
// agent.yaml, and validates JSON against the schemas in it.
package agenttest

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"agentmarket/agentruntime"
)

// Manifest reads agent.yaml of the current directory.
func Manifest(t testing.TB) agentruntime.Manifest {
	t.Helper()
	text := Read(t, "agent.yaml")
	data, err := yaml.YAMLToJSONStrict(text)
	require.NoError(t, err)
	m, err := agentruntime.ParseManifest(data)
	require.NoError(t, err)
	return m
}

// Read reads a file of the current directory.
func Read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	return data
}

// Valid reports what is wrong with a JSON document under a schema, nil if
// nothing.
func Valid(t testing.TB, schema json.RawMessage, document []byte) error {
	t.Helper()
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	require.NoError(t, err)
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	require.NoError(t, compiler.AddResource("schema.json", parsed))
	compiled, err := compiler.Compile("schema.json")
	require.NoError(t, err)
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	require.NoError(t, err, "%s", document)
	return compiled.Validate(value)
}

// Run runs an agent's program with an input, under the contract's variables, and
// returns its result by the contract's rule, its stderr and its exit code.
func Run(t testing.TB, input []byte, env []string, name string, args ...string) (result []byte, stderr string, exitCode int) {
	t.Helper()
	dir := t.TempDir()
	inputFile, outputFile := filepath.Join(dir, "input.json"), filepath.Join(dir, "output.json")
	require.NoError(t, os.WriteFile(inputFile, input, 0o600))
	cmd := exec.Command(name, args...)
	cmd.Env = append(slices.Clone(env), "PATH="+os.Getenv("PATH"),
		agentruntime.EnvInput+"="+inputFile, agentruntime.EnvOutput+"="+outputFile)
	cmd.Stdin = bytes.NewReader(input)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		var ended *exec.ExitError
		require.ErrorAs(t, err, &ended)
	}
	result, _ = os.ReadFile(outputFile)
	if len(result) == 0 {
		result = lastLine(out.Bytes())
	}
	return result, problems.String(), cmd.ProcessState.ExitCode()
}

func lastLine(text []byte) []byte {
	text = bytes.TrimSpace(text)
	return text[bytes.LastIndexByte(text, '\n')+1:]
}
