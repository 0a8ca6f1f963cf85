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

// Sealer opens values, and seals them with the key of today, see package secrets.
type Sealer interface {
	Seal(value []byte, place string) ([]byte, error)
	Open(sealed []byte, place string) ([]byte, error)
	// Stale reports whether a value was sealed with another key.
	Stale(sealed []byte) bool
}

// resealBatch is how many secrets are read at once.
const resealBatch = 200

// Reseal seals anew what an older key has sealed, and returns how many values that were.
// It may be broken off and called again, and while secrets are written. A value that does
// not open ends it with an error.
func Reseal(ctx context.Context, store SecretStore, sealer Sealer) (resealed int, err error) {
	err = eachStale(ctx, store, sealer, func(s Secret) error {
		value, err := sealer.Open(s.Sealed, s.Place())
		if err != nil {
			return err
		}
		sealed, err := sealer.Seal(value, s.Place())
		if err != nil {
			return err
		}
		done, err := store.ResealSecret(ctx, s, sealed)
		if done {
			resealed++
		}
		return err
	})
	return resealed, err
}

// Stale counts what an older key has sealed.
func Stale(ctx context.Context, store SecretStore, sealer Sealer) (stale int, err error) {
	err = eachStale(ctx, store, sealer, func(Secret) error { stale++; return nil })
	return stale, err
}

func eachStale(ctx context.Context, store SecretStore, sealer Sealer, do func(Secret) error) error {
	var last Secret
	for {
		batch, err := store.SealedSecrets(ctx, last, resealBatch)
		if err != nil || len(batch) == 0 {
			return err
		}
		for _, s := range batch {
			if !sealer.Stale(s.Sealed) {
				continue
			}
			if err := do(s); err != nil {
				return err
			}
		}
		last = batch[len(batch)-1]
	}
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
	// SealedSecrets lists secrets of all organizations with their sealed values, by
	// organization and name, from after one on; the zero Secret: from the first.
	SealedSecrets(ctx context.Context, after Secret, limit int) ([]Secret, error)
	// ResealSecret replaces how the value of a secret is sealed, and nothing else. False: it
	// has another value by now, or is gone.
	ResealSecret(ctx context.Context, s Secret, sealed []byte) (bool, error)
	DeleteSecret(ctx context.Context, by audit.Actor, org ids.Org, name string, now time.Time) error
}
