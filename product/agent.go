package product

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"agentmarket/agentruntime"
	"agentmarket/fault"
	"agentmarket/ids"
)

// Agent is a product of a publisher: a name under which versions are published.
type Agent struct {
	ID        ids.Agent
	OrgID     ids.Org // the publisher
	Publisher string  // the publisher's name, first half of the agent's full name
	Name      string
	Summary   string // of the newest version
	Latest    string // number of the newest version; empty: none yet
	CreatedAt time.Time
	UpdatedAt time.Time // when the newest version was added
}

// FullName is publisher/name.
func (a Agent) FullName() string { return a.Publisher + "/" + a.Name }

// Version is an immutable version of an agent: a manifest and the digest of the
// image that it runs.
type Version struct {
	ID        ids.Version
	AgentID   ids.Agent
	Number    string // semantic version, unique within the agent
	Manifest  agentruntime.Manifest
	Image     string // pinned: NAME@sha256:…
	Changelog string // what is new, for people; at most MaxChangelogBytes
	CreatedAt time.Time
}

// MaxChangelogBytes bounds the changelog of a version.
const MaxChangelogBytes = 16 << 10

// WithChangelog returns the version with a text on what is new in it. It is no
// part of what the version runs. A text that is too long, or is no text, is
// fault.Invalid at /changelog.
func (v Version) WithChangelog(text string) (Version, error) {
	if len(text) > MaxChangelogBytes || !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return Version{}, fault.New(fault.Invalid, "version_invalid", "the version is not valid").WithFields(fault.Field{
			Pointer: "/changelog", Message: fmt.Sprintf("must be text of at most %d bytes without a NUL", MaxChangelogBytes)})
	}
	v.Changelog = text
	return v, nil
}

// imageReference is an image pinned by digest. A tag can be moved by its owner
// after a buyer trusted it; a digest cannot.
var imageReference = regexp.MustCompile(
	`^[a-z0-9]([-a-z0-9._]*[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9]([-a-z0-9._]*[a-z0-9])?)*@sha256:[0-9a-f]{64}$`)

const maxImageReference = 512

// NewVersion checks the image reference and the schemas of an already parsed
// manifest and returns the version. Errors are fault.Invalid with JSON pointers
// into the registration request (/image, /manifest/…).
func NewVersion(agent ids.Agent, manifest agentruntime.Manifest, image string, now time.Time) (Version, error) {
	var fields []fault.Field
	if len(image) > maxImageReference || !imageReference.MatchString(image) {
		fields = append(fields, fault.Field{Pointer: "/image",
			Message: "must be an image pinned by digest, NAME@sha256:<64 hex digits>, at most 512 characters"})
	}
	for _, s := range []struct {
		pointer string
		schema  []byte
	}{
		{"/manifest/input_schema", manifest.InputSchema},
		{"/manifest/output_schema", manifest.OutputSchema},
	} {
		if _, err := CompileSchema(s.schema); err != nil {
			fields = append(fields, fault.Field{Pointer: s.pointer, Message: fault.From(err).Message})
		}
	}
	if len(fields) > 0 {
		return Version{}, fault.New(fault.Invalid, "version_invalid", "the version is not valid").WithFields(fields...)
	}
	return Version{
		ID: ids.New[ids.Version](ids.PrefixVersion), AgentID: agent, Number: manifest.Version,
		Manifest: manifest, Image: image, CreatedAt: now,
	}, nil
}

// SameContent reports whether two versions would run the same thing: then
// registering the second one again is a repeat of the first, not a conflict.
func (v Version) SameContent(other Version) bool {
	mine, err1 := json.Marshal(v.Manifest)
	theirs, err2 := json.Marshal(other.Manifest)
	return err1 == nil && err2 == nil && v.Image == other.Image && bytes.Equal(mine, theirs)
}
