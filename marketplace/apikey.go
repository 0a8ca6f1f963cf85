package marketplace

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"log/slog"
	"slices"
	"strings"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
)

// Scope is a set of calls that an API key may make.
type Scope string

// The scopes. A key without one of them gets 403 from the calls behind it.
const (
	ScopeAgentsRead  Scope = "agents:read"
	ScopeAgentsWrite Scope = "agents:write"
	ScopeRunsRead    Scope = "runs:read"
	ScopeRunsWrite   Scope = "runs:write"

	ScopeOrgRead      Scope = "organization:read"
	ScopeOrgWrite     Scope = "organization:write"
	ScopeBillingRead  Scope = "billing:read"
	ScopeBillingWrite Scope = "billing:write"
	ScopeAuditRead    Scope = "audit:read"
	ScopePlatform     Scope = "platform" // of operators
)

// AllScopes returns every scope of an organization, for its first key.
func AllScopes() []Scope {
	return []Scope{
		ScopeAgentsRead, ScopeAgentsWrite, ScopeRunsRead, ScopeRunsWrite, ScopeOrgRead, ScopeOrgWrite,
		ScopeBillingRead, ScopeBillingWrite, ScopeAuditRead,
	}
}

// OperatorScopes returns every scope of an operator of the platform.
func OperatorScopes() []Scope {
	return []Scope{ScopePlatform, ScopeAgentsRead, ScopeOrgRead, ScopeBillingRead, ScopeBillingWrite, ScopeAuditRead}
}

// APIKey is a credential of a member, or of a program, in an organization: what
// the role may do, narrowed by the scopes. The secret itself is shown once,
// when the key is made; only its SHA-256 is kept. The secret has 160 random
// bits, so a plain hash is enough: there is nothing to guess by dictionary.
type APIKey struct {
	ID         ids.Key
	OrgID      ids.Org
	UserID     ids.User   // whose key it is; empty: a program's
	Role       Role       // of a person's key: that of her membership, now
	Teams      []ids.Team // of the person; filled in by APIKeyByPrefix
	Name       string     // for people
	Prefix     string     // public part, unique, finds the row
	SecretHash [sha256.Size]byte
	Scopes     []Scope
	CreatedAt  time.Time
	ExpiresAt  time.Time // zero: does not expire
	RevokedAt  time.Time // zero: not revoked
	LastUsedAt time.Time // zero: never; exact to a minute
	RotatedTo  ids.Key   // the key that takes its place; empty: none
}

// The bounds of keys.
const (
	MaxKeyName     = 100  // characters
	MaxKeys        = 1000 // of an organization that are neither expired nor revoked
	DefaultOverlap = 24 * time.Hour
	MaxOverlap     = 30 * 24 * time.Hour
)

// Token is the full text of an API key, amk_<prefix>_<secret>. It redacts
// itself in logs and formatted output; Reveal gives the text.
type Token struct{ text string }

// Reveal returns the token itself, to be shown to its owner once.
func (t Token) Reveal() string { return t.text }

// String hides the token from %v and %s.
func (Token) String() string { return "amk_[redacted]" }

// GoString hides the token from %#v.
func (t Token) GoString() string { return t.String() }

// LogValue hides the token from slog.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

const (
	tokenScheme  = "amk_"
	prefixLength = 12 // hex characters: 48 bits
	secretLength = 40 // hex characters: 160 bits
)

// NewAPIKey returns a key of a program and its token.
func NewAPIKey(org ids.Org, name string, role Role, scopes []Scope, now time.Time) (APIKey, Token) {
	random := make([]byte, (prefixLength+secretLength)/2)
	_, _ = rand.Read(random) // never fails: the runtime aborts without entropy
	text := hex.EncodeToString(random)
	prefix, secret := text[:prefixLength], text[prefixLength:]
	key := APIKey{
		ID: ids.New[ids.Key](ids.PrefixKey), OrgID: org, Role: role, Name: name, Prefix: prefix,
		SecretHash: sha256.Sum256([]byte(secret)), Scopes: slices.Clone(scopes), CreatedAt: now,
	}
	return key, Token{text: tokenScheme + prefix + "_" + secret}
}

// ParseToken splits the text of a token. It returns false for anything that is
// not shaped like one, before any query is made.
func ParseToken(text string) (prefix, secret string, ok bool) {
	body, found := strings.CutPrefix(text, tokenScheme)
	if !found {
		return "", "", false
	}
	prefix, secret, found = strings.Cut(body, "_")
	return prefix, secret, found && isHex(prefix, prefixLength) && isHex(secret, secretLength)
}

func isHex(s string, length int) bool {
	return len(s) == length && strings.Trim(s, "0123456789abcdef") == ""
}

// Verify checks a secret against the key in constant time. It returns
// fault.Unauthenticated for a wrong secret and for an expired key.
func (k APIKey) Verify(secret string, now time.Time) error {
	sum := sha256.Sum256([]byte(secret))
	if subtle.ConstantTimeCompare(sum[:], k.SecretHash[:]) != 1 {
		return fault.New(fault.Unauthenticated, "key_invalid", "the API key is not valid")
	}
	if !k.RevokedAt.IsZero() && !now.Before(k.RevokedAt) {
		return fault.New(fault.Unauthenticated, "key_invalid", "the API key is not valid")
	}
	if !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt) {
		return fault.New(fault.Unauthenticated, "key_expired", "the API key has expired")
	}
	return nil
}

// Rotate returns a key that takes the place of k, with its token, and k as it is
// from then on: it works for the overlap, so that programs can be moved without a
// gap.
func (k APIKey) Rotate(overlap time.Duration, now time.Time) (next APIKey, token Token, old APIKey) {
	next, token = NewAPIKey(k.OrgID, k.Name, k.Role, k.Scopes, now)
	next.UserID, next.ExpiresAt = k.UserID, k.ExpiresAt
	old = k
	old.RotatedTo = next.ID
	if end := now.Add(overlap); old.ExpiresAt.IsZero() || end.Before(old.ExpiresAt) {
		old.ExpiresAt = end
	}
	return next, token, old
}

// Principal is who a request with this key is made by.
func (k APIKey) Principal() Principal {
	return Principal{OrgID: k.OrgID, KeyID: k.ID, UserID: k.UserID, Teams: k.Teams, Role: k.Role, Scopes: k.Scopes}
}
