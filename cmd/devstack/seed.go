package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"agentmarket/cmd/internal/wire"
	"agentmarket/fault"
	"agentmarket/marketplace"
)

// examplesOrg publishes and runs the example agents.
const examplesOrg = "examples"

// seeded is the organization of the development stack and its key.
type seeded struct{ token string }

// ensureOrganization makes the organization of the examples once.
func ensureOrganization(ctx context.Context, p *wire.Platform, now time.Time) (marketplace.Organization, error) {
	store := p.DB.Marketplace()
	org, err := store.OrganizationByName(ctx, examplesOrg)
	if !fault.Is(err, fault.NotFound) {
		return org, err
	}
	if org, err = marketplace.NewOrganization(examplesOrg, now); err != nil {
		return org, err
	}
	return org, store.CreateOrganization(ctx, org)
}

// seed returns the API key of the examples' organization. It is kept in a file
// that only its owner can read, and made anew when the file or the database was
// removed.
func seed(ctx context.Context, p *wire.Platform, dir string) (seeded, error) {
	store, now := p.DB.Marketplace(), time.Now().UTC()
	file := filepath.Join(dir, "api-key")
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return seeded{}, fmt.Errorf("read API key: %w", err)
	}
	kept := strings.TrimSpace(string(text))
	if prefix, secret, ok := marketplace.ParseToken(kept); ok {
		if key, err := store.APIKeyByPrefix(ctx, prefix); err == nil && key.Verify(secret, now) == nil {
			return seeded{token: kept}, nil
		}
	}
	org, err := ensureOrganization(ctx, p, now)
	if err != nil {
		return seeded{}, err
	}
	key, token := marketplace.NewAPIKey(org.ID, "development", marketplace.AllScopes(), now)
	if err := store.CreateAPIKey(ctx, key); err != nil {
		return seeded{}, err
	}
	if err := os.WriteFile(file, []byte(token.Reveal()+"\n"), 0o600); err != nil {
		return seeded{}, fmt.Errorf("keep API key: %w", err)
	}
	return seeded{token: token.Reveal()}, nil
}

// writeEnvironment writes what a shell needs to talk to the stack.
func (o stackOptions) writeEnvironment(s seeded, kubeconfig string, say *progress) {
	file := filepath.Join(o.dir, "env")
	text := fmt.Sprintf("export AGENTMARKET_URL=http://localhost:%d\nexport AGENTMARKET_API_KEY=%s\nexport KUBECONFIG=%s\nexport TEMPORAL_ADDRESS=%s:%d\nexport TEMPORAL_NAMESPACE=%s\nexport PATH=%s:$PATH\n",
		o.apiPort, s.token, kubeconfig, loopback, o.temporalPort, temporalNamespace, absolute(o.bin))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		fmt.Fprintln(os.Stderr, "devstack: write environment:", err)
		return
	}
	say.step("API on http://localhost:%d; in another shell: source %s", o.apiPort, file)
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
