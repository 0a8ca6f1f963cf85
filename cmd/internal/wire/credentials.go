package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/secrets"
)

// credentials are what the gateway shows to servers of tools: secrets of organizations,
// and those of the operators, which are files of a directory. Files are read each time:
// they may be replaced while the gateway runs.
type credentials struct {
	dir     string
	secrets marketplace.SecretStore
	vault   *secrets.Vault
}

const maxSecret = 16 << 10

var secretName = regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,63}$`)

// Secret implements gateway.Secrets.
func (c credentials) Secret(ctx context.Context, org ids.Org, name string) ([]byte, error) {
	if org == "" {
		return c.file(name)
	}
	secret, err := c.secrets.Secret(ctx, org, name)
	if err != nil {
		return nil, err
	}
	return c.vault.Open(secret.Sealed, secret.Place())
}

// file is a credential of the operators.
func (c credentials) file(name string) ([]byte, error) {
	if c.dir == "" || !secretName.MatchString(name) {
		return nil, fault.Newf(fault.NotFound, "secret_not_found", "there is no secret %.64q", name)
	}
	root, err := os.OpenRoot(c.dir)
	if err != nil {
		return nil, fmt.Errorf("open secrets: %w", err)
	}
	defer func() { _ = root.Close() }()
	file, err := root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Newf(fault.NotFound, "secret_not_found", "there is no secret %s", name)
	}
	if err != nil {
		return nil, fmt.Errorf("open secret %s: %w", name, err)
	}
	defer file.Close()
	value, err := io.ReadAll(io.LimitReader(file, maxSecret+1))
	if err != nil {
		return nil, fmt.Errorf("read secret %s: %w", name, err)
	}
	if len(value) > maxSecret {
		return nil, fmt.Errorf("secret %s has more than %d bytes", name, maxSecret)
	}
	return value, nil
}
