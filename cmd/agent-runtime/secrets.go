package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"agentmarket/agentruntime"
)

const (
	// secretsWithin is how long the supervisor asks for the secrets of its run.
	secretsWithin = 15 * time.Second
	// maxSecretsAnswer bounds the answer: base64 and names come to the values.
	maxSecretsAnswer = 2*agentruntime.MaxSecretFilesBytes + 4<<10
)

// fetchSecrets puts the secrets that the agent reads itself where it finds them, and
// returns what keeps them out of everything that leaves the pod.
func fetchSecrets(ctx context.Context, l agentruntime.Launch, dir string) (*agentruntime.Redactor, error) {
	ctx, cancel := context.WithTimeout(ctx, secretsWithin)
	defer cancel()
	gateway := newGateway(l)
	for {
		found, again, err := gateway.secrets(ctx)
		if err == nil {
			return writeSecrets(dir, found.Files)
		}
		if !again {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(askAgainAfter):
		}
	}
}

// secrets asks once. again: the next time may be better.
func (g gateway) secrets(ctx context.Context) (found agentruntime.GatewaySecretFiles, again bool, err error) {
	answer, err := g.do(ctx, http.MethodGet, agentruntime.PathSecretFiles, nil)
	if err != nil {
		return found, true, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return found, answer.StatusCode >= http.StatusInternalServerError, fmt.Errorf("fetch the secrets: %s", answer.Status)
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxSecretsAnswer)).Decode(&found); err != nil {
		return found, true, fmt.Errorf("fetch the secrets: the answer ended early")
	}
	return found, false, nil
}

func writeSecrets(dir string, files []agentruntime.GatewaySecretFile) (*agentruntime.Redactor, error) {
	values := make([][]byte, len(files))
	for i, file := range files {
		if !agentruntime.ValidSecret(file.Name) {
			return nil, fmt.Errorf("the gateway has a secret of another kind")
		}
		if err := os.WriteFile(filepath.Join(dir, file.Name), file.Value, 0o400); err != nil {
			return nil, fmt.Errorf("write secret %s: %w", file.Name, err)
		}
		values[i] = file.Value
	}
	return agentruntime.NewRedactor(values...), nil
}
