package marketplace

import (
	"context"
	"slices"
	"time"

	"agentmarket/agentruntime"
	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
)

// The bounds of secrets.
const (
	MaxSecrets     = 100 // of an organization
	MaxSecretBytes = 32 << 10
)

// Secret is a value that an organization entrusts to the platform, for the agents that
// it runs. It is written and used, and never read back.
type Secret struct {
	OrgID ids.Org
	Name  string
	// Sealed is the value, encrypted for [Secret.Place].
	Sealed []byte
	// Version counts the values that there were, from 1.
	Version              int64
	CreatedAt, UpdatedAt time.Time
}

// Place is what the value of a secret is sealed for.
func (s Secret) Place() string { return "secret " + string(s.OrgID) + " " + s.Name }

// CheckSecret reports whether an organization may have a secret of a name with such a
// value: fault.Invalid. The error does not repeat the value.
func CheckSecret(name, value string) error {
	switch {
	case !agentruntime.ValidSecret(name):
		return fault.New(fault.Invalid, "secret_name_invalid", "the name of a secret has 1 to 64 upper-case letters, digits and underscores, a letter first")
	case value == "":
		return invalidField("/value", "must not be empty")
	case len(value) > MaxSecretBytes:
		return invalidField("/value", "must have at most 32768 bytes")
	}
	return nil
}

// MissingSecrets are those of some names that an organization does not have.
func MissingSecrets(have []Secret, want []string) (missing []string) {
	for _, name := range want {
		if !slices.ContainsFunc(have, func(s Secret) bool { return s.Name == name }) {
			missing = append(missing, name)
		}
	}
	return missing
}

// SecretStore keeps the secrets of organizations.
type SecretStore interface {
	// PutSecret stores a secret, or a new value of it; it returns how it is stored.
	// Beyond MaxSecrets it is fault.Conflict, too_many_secrets.
	PutSecret(ctx context.Context, by audit.Actor, s Secret) (Secret, error)
	// Secrets lists those of an organization by their names, without their values.
	Secrets(ctx context.Context, org ids.Org) ([]Secret, error)
	// Secret loads one with its sealed value; fault.NotFound, secret_not_found.
	Secret(ctx context.Context, org ids.Org, name string) (Secret, error)
	DeleteSecret(ctx context.Context, by audit.Actor, org ids.Org, name string, now time.Time) error
}
