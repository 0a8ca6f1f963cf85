package marketplace

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/mail"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"agentmarket/fault"
	"agentmarket/ids"
)

// User is a person. A person may be a member of several organizations.
type User struct {
	ID        ids.User
	Email     string // lower case, unique
	Name      string // for people
	CreatedAt time.Time
}

// The bounds of names and addresses.
const (
	MaxPersonName = 100 // characters
	MaxEmail      = 254 // bytes, RFC 5321
	MaxTeams      = 100 // of an organization
	MaxTeamSize   = 1000
)

// NormalEmail returns the form in which an address is stored, or fault.Invalid
// with the pointer.
func NormalEmail(text, pointer string) (string, error) {
	address, err := mail.ParseAddress(text)
	lower := strings.ToLower(text) // which may be longer
	if err != nil || address.Address != text || max(len(text), len(lower)) > MaxEmail {
		return "", invalidField(pointer, "must be an e-mail address of at most 254 bytes, without a name")
	}
	return lower, nil
}

// CheckText checks a text of one line for people: 1 to most characters, one of
// them to be seen, and none that ends the line or turns its direction.
func CheckText(text, pointer string, most int) error {
	if strings.IndexFunc(text, isSeen) < 0 || utf8.RuneCountInString(text) > most || !utf8.ValidString(text) ||
		strings.IndexFunc(text, breaksLine) >= 0 {
		return invalidFieldf(pointer, "must be 1 to %d characters on one line", most)
	}
	return nil
}

func isSeen(r rune) bool { return unicode.In(r, unicode.L, unicode.N, unicode.P, unicode.S) }

// breaksLine reports control characters, separators of lines, and the overrides
// of the writing direction, with which a text can show what it does not say.
func breaksLine(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp) ||
		'\u202a' <= r && r <= '\u202e' || '\u2066' <= r && r <= '\u2069'
}

// NewUser returns a person with a fresh identifier.
func NewUser(email, name string, now time.Time) (User, error) {
	email, err := NormalEmail(email, "/email")
	if err != nil {
		return User{}, err
	}
	if err := CheckText(name, "/name", MaxPersonName); err != nil {
		return User{}, err
	}
	return User{ID: ids.New[ids.User](ids.PrefixUser), Email: email, Name: name, CreatedAt: now}, nil
}

// Member is a person in an organization.
type Member struct {
	OrgID    ids.Org
	User     User
	Role     Role
	Teams    []ids.Team // those of this organization
	JoinedAt time.Time
}

// Team is a group of members of one organization, to which agents can be granted
// and purchases can be limited.
type Team struct {
	ID        ids.Team
	OrgID     ids.Org
	Name      string // unique within the organization, a DNS label
	Members   []ids.User
	CreatedAt time.Time
}

// NewTeam returns an empty team.
func NewTeam(org ids.Org, name string, now time.Time) (Team, error) {
	if !label.MatchString(name) {
		return Team{}, invalidField("/name", "must be 1 to 40 lower-case letters, digits and inner hyphens")
	}
	return Team{ID: ids.New[ids.Team](ids.PrefixTeam), OrgID: org, Name: name, CreatedAt: now}, nil
}

// Invitation is an offer to join an organization. Its secret is shown once, to
// the one who invites, who passes it on.
type Invitation struct {
	ID         ids.Invitation
	OrgID      ids.Org
	Email      string
	Role       Role
	SecretHash [sha256.Size]byte
	CreatedBy  string // identifier of the actor
	CreatedAt  time.Time
	ExpiresAt  time.Time
	AcceptedAt time.Time // zero: not yet
	RevokedAt  time.Time // zero: not revoked
}

// InvitationLife is how long an invitation can be accepted.
const InvitationLife = 7 * 24 * time.Hour

const invitationScheme = "ami_"

// NewInvitation returns an invitation and its token, ami_<id>_<secret>. Nobody is
// invited as an operator: that is a role of the platform.
func NewInvitation(org ids.Org, email string, role Role, by string, now time.Time) (Invitation, Token, error) {
	email, err := NormalEmail(email, "/email")
	if err != nil {
		return Invitation{}, Token{}, err
	}
	if !role.OfOrganization() {
		return Invitation{}, Token{}, invalidField("/role", "must be a role of an organization")
	}
	random := make([]byte, secretLength/2)
	_, _ = rand.Read(random) // never fails: the runtime aborts without entropy
	secret := hex.EncodeToString(random)
	i := Invitation{
		ID: ids.New[ids.Invitation](ids.PrefixInvitation), OrgID: org, Email: email, Role: role,
		SecretHash: sha256.Sum256([]byte(secret)), CreatedBy: by, CreatedAt: now, ExpiresAt: now.Add(InvitationLife),
	}
	return i, Token{text: invitationScheme + ids.Body(i.ID) + "_" + secret}, nil
}

// ParseInvitationToken splits the text of an invitation's token.
func ParseInvitationToken(text string) (id ids.Invitation, secret string, ok bool) {
	body, found := strings.CutPrefix(text, invitationScheme)
	if !found {
		return "", "", false
	}
	body, secret, found = strings.Cut(body, "_")
	id = ids.Invitation(ids.PrefixInvitation + "_" + body)
	return id, secret, found && ids.Valid(ids.PrefixInvitation, string(id)) && isHex(secret, secretLength)
}

// Check returns nil while the invitation can be accepted with the secret. A wrong
// secret, one that was used and one that was taken back are the same: NotFound.
func (i Invitation) Check(secret string, now time.Time) error {
	sum := sha256.Sum256([]byte(secret))
	wrong := subtle.ConstantTimeCompare(sum[:], i.SecretHash[:]) != 1
	if wrong || !i.AcceptedAt.IsZero() || !i.RevokedAt.IsZero() || !now.Before(i.ExpiresAt) {
		return fault.New(fault.NotFound, "invitation_not_found", "there is no such invitation; it may have been used, taken back or expired")
	}
	return nil
}

// label is a DNS label of at most 40 characters.
var label = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$`)

func invalidField(pointer, message string) error {
	return fault.New(fault.Invalid, "request_invalid", "the request is not valid").
		WithFields(fault.Field{Pointer: pointer, Message: message})
}

func invalidFieldf(pointer, format string, args ...any) error {
	return fault.New(fault.Invalid, "request_invalid", "the request is not valid").
		WithFields(fault.Field{Pointer: pointer, Message: fmt.Sprintf(format, args...)})
}
