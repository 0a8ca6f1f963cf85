// Package agent is for authors of agents in Go. It does what docs/agents.md asks of a
// program, and is no more than files and HTTP; an agent may do without it.
//
//	input ─► Run.Input ─► your work ─► Run.Result ─► exit 0
//	                        │
//	                        └ Progress, Note, Partial, Artifact, Charge, Child ─► gateway
//	                          Client, for models and tools
//
// Where the cluster has no gateway, progress and notes are lines on stderr, and every
// other call is [ErrNoGateway]; input and result are files either way.
//
// It is linked into the programs of strangers: it imports the standard library and the
// contract, package agentruntime, and nothing of the platform imports it.
package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"agentmarket/agentruntime"
)

// Run is the run that this process works on. Its methods may be called at the same time.
type Run struct {
	ID       string    // the key of what must not happen twice
	Attempt  int       // from 1; 0 outside of a platform
	Deadline time.Time // of SIGTERM; zero where it is not known

	input, output string
	gateway       string
	tokenFile     string
	client        *http.Client
	log           io.Writer
}

// FromEnv reads the variables of the contract.
func FromEnv() (*Run, error) {
	r := &Run{
		ID:    os.Getenv(agentruntime.EnvRunID),
		input: os.Getenv(agentruntime.EnvInput), output: os.Getenv(agentruntime.EnvOutput),
		gateway:   strings.TrimSuffix(os.Getenv(agentruntime.EnvGateway), "/"),
		tokenFile: os.Getenv(agentruntime.EnvTokenFile),
		log:       os.Stderr,
	}
	var err error
	if text := os.Getenv(agentruntime.EnvAttempt); text != "" {
		if r.Attempt, err = strconv.Atoi(text); err != nil {
			return nil, fmt.Errorf("read %s: %w", agentruntime.EnvAttempt, err)
		}
	}
	if text := os.Getenv(agentruntime.EnvDeadline); text != "" {
		if r.Deadline, err = time.Parse(time.RFC3339, text); err != nil {
			return nil, fmt.Errorf("read %s: %w", agentruntime.EnvDeadline, err)
		}
	}
	r.client = newClient(r.gateway, r.tokenFile)
	return r, nil
}

// Main runs an agent and exits: with 0 when work returns nil, otherwise with 1 and the
// error as the last line on stderr, which the caller sees. The context ends at SIGTERM.
func Main(work func(context.Context, *Run) error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	r, err := FromEnv()
	if err == nil {
		err = work(ctx, r)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Input decodes the input, from the file AGENT_INPUT or, where that is not set, stdin.
func (r *Run) Input(into any) error {
	var from io.Reader = os.Stdin
	if r.input != "" {
		f, err := os.Open(r.input)
		if err != nil {
			return fmt.Errorf("read input: %w", err)
		}
		defer func() { _ = f.Close() }()
		from = f
	}
	if err := json.NewDecoder(from).Decode(into); err != nil {
		return fmt.Errorf("read input: %w", err)
	}
	return nil
}

// Secret is the value of one of the manifest's secret_files.
func (r *Run) Secret(name string) (string, error) {
	dir := os.Getenv(agentruntime.EnvSecrets)
	if dir == "" {
		return "", fmt.Errorf("read secret %s: the manifest has no secret_files", name)
	}
	value, err := os.ReadFile(filepath.Join(dir, filepath.Base(name)))
	if err != nil {
		return "", fmt.Errorf("read secret %s: %w", name, err)
	}
	return string(value), nil
}

// Result writes the result to the file AGENT_OUTPUT or, where that is not set, stdout.
// The last one counts.
func (r *Run) Result(value any) error {
	body, err := json.Marshal(value)
	if err == nil && r.output == "" {
		_, err = fmt.Fprintf(os.Stdout, "%s\n", body)
	} else if err == nil {
		err = os.WriteFile(r.output, body, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// HasGateway reports whether the run has a gateway.
func (r *Run) HasGateway() bool { return r.gateway != "" }

// Client adds the token of the run to calls of the gateway, and to no others. It is for
// clients of models and tools: give them this one, and [Run.ModelsURL] or [Run.ToolsURL].
func (r *Run) Client() *http.Client { return r.client }

// ModelsURL is the base URL for clients of OpenAI's protocol; empty without a gateway.
func (r *Run) ModelsURL() string {
	if r.gateway == "" {
		return ""
	}
	return r.gateway + "/v1"
}

// ToolsURL is the endpoint for clients of MCP (streamable HTTP); empty without a gateway.
func (r *Run) ToolsURL() string {
	if r.gateway == "" {
		return ""
	}
	return r.gateway + "/v1/mcp"
}
