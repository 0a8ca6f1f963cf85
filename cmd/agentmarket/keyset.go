package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"agentmarket/marketplace"
	"agentmarket/secrets"
)

// manageKeyset carries out the commands about the keys of secrets. The first two need
// neither the database nor the cluster.
func manageKeyset(ctx context.Context, command string, c secrets.Config, open func() (marketplace.SecretStore, func(), error), out io.Writer) error {
	if c.File == "" {
		return errors.New("AGENTMARKET_SECRETS_KEYSET_FILE is not set")
	}
	switch command {
	case "create":
		return secrets.Create(ctx, c)
	case "rotate":
		return secrets.Rotate(ctx, c)
	case "reencrypt", "prune":
	default:
		return errUsage
	}
	vault, err := secrets.Open(ctx, c)
	if err != nil {
		return err
	}
	store, closing, err := open()
	if err != nil {
		return err
	}
	defer closing()
	if command == "reencrypt" {
		resealed, err := marketplace.Reseal(ctx, store, vault)
		_, _ = fmt.Fprintf(out, "%d secrets encrypted anew\n", resealed)
		return err
	}
	switch stale, err := marketplace.Stale(ctx, store, vault); {
	case err != nil:
		return err
	case stale > 0:
		return fmt.Errorf("%d secrets need an older key: agentmarket secrets reencrypt", stale)
	}
	return secrets.Prune(ctx, c)
}
