package main

import (
	"context"
	"errors"

	"agentmarket/secrets"
)

// manageKeyset carries out the commands about the keys of secrets. They need neither the
// database nor the cluster.
func manageKeyset(ctx context.Context, command string, c secrets.Config) error {
	if c.File == "" {
		return errors.New("AGENTMARKET_SECRETS_KEYSET_FILE is not set")
	}
	switch command {
	case "create":
		return secrets.Create(ctx, c)
	case "rotate":
		return secrets.Rotate(ctx, c)
	}
	return errUsage
}
