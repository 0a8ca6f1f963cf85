package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"agentmarket/audit"
	"agentmarket/cmd/internal/wire"
	"agentmarket/fault"
	"agentmarket/marketplace"
)

// The organizations of the development stack: who publishes the example agents,
// who buys one of them, and who runs the platform.
const (
	examplesOrg = "examples"
	buyerOrg    = "acme"
	operatorOrg = "platform"
)

// seeded are the keys of the development stack.
type seeded struct{ publisher, buyer, operator string }

// ensureOrganization makes an organization once.
func ensureOrganization(ctx context.Context, p *wire.Platform, name string, now time.Time) (marketplace.Organization, error) {
	store := p.DB.Marketplace()
	org, err := store.OrganizationByName(ctx, name)
	if !fault.Is(err, fault.NotFound) {
		return org, err
	}
	if org, err = marketplace.NewOrganization(name, now); err != nil {
		return org, err
	}
	return org, store.CreateOrganization(ctx, audit.System("devstack"), org)
}

// seed returns the API keys of the development stack.
func seed(ctx context.Context, p *wire.Platform, dir string) (s seeded, err error) {
	for _, k := range []struct {
		into      *string
		org, file string
		role      marketplace.Role
		scopes    []marketplace.Scope
	}{
		{&s.publisher, examplesOrg, "api-key", marketplace.RoleOwner, marketplace.AllScopes()},
		{&s.buyer, buyerOrg, "buyer-key", marketplace.RoleOwner, marketplace.AllScopes()},
		{&s.operator, operatorOrg, "operator-key", marketplace.RoleOperator, marketplace.OperatorScopes()},
	} {
		if *k.into, err = ensureKey(ctx, p, k.org, filepath.Join(dir, k.file), k.role, k.scopes); err != nil {
			return seeded{}, fmt.Errorf("make key of %s: %w", k.org, err)
		}
	}
	return s, nil
}

// ensureKey returns a key of an organization. It is kept in a file that only its
// owner can read, and made anew when the file or the database was removed.
func ensureKey(ctx context.Context, p *wire.Platform, organization, file string, role marketplace.Role, scopes []marketplace.Scope) (string, error) {
	store, now := p.DB.Marketplace(), time.Now().UTC()
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read API key: %w", err)
	}
	kept := strings.TrimSpace(string(text))
	if prefix, secret, ok := marketplace.ParseToken(kept); ok {
		key, err := store.APIKeyByPrefix(ctx, prefix)
		if err == nil && key.Verify(secret, now) == nil && key.Role == role && len(key.Scopes) == len(scopes) {
			return kept, nil
		}
	}
	org, err := ensureOrganization(ctx, p, organization, now)
	if err != nil {
		return "", err
	}
	key, token := marketplace.NewAPIKey(org.ID, "development", role, scopes, now)
	if err := store.CreateAPIKey(ctx, audit.System("devstack"), key); err != nil {
		return "", err
	}
	if err := os.WriteFile(file, []byte(token.Reveal()+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep API key: %w", err)
	}
	return token.Reveal(), nil
}

// writeEnvironment writes what a shell needs to talk to the stack.
func (o stackOptions) writeEnvironment(s seeded, kubeconfig string, say *progress) {
	file := filepath.Join(o.dir, "env")
	text := fmt.Sprintf(`export AGENTMARKET_URL=http://localhost:%d
export AGENTMARKET_API_KEY=%s
export AGENTMARKET_BUYER_KEY=%s
export AGENTMARKET_OPERATOR_KEY=%s
export KUBECONFIG=%s
export TEMPORAL_ADDRESS=%s:%d
export TEMPORAL_HTTP_PORT=%d
export TEMPORAL_NAMESPACE=%s
export PATH=%s:$PATH
`, o.apiPort, s.publisher, s.buyer, s.operator, kubeconfig, loopback, o.temporalPort, o.temporalHTTPPort, temporalNamespace, absolute(o.bin))
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
