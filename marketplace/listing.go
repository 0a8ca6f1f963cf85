package marketplace

import (
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"agentmarket/fault"
	"agentmarket/ids"
)

// Visibility says who finds a listing that is published.
type Visibility string

// The visibilities.
const (
	VisibilityPublic       Visibility = "public"       // everybody
	VisibilityOrganization Visibility = "organization" // the publisher's own
	VisibilityPrivate      Visibility = "private"      // the own, and who was granted it
)

// Visibilities returns every visibility.
func Visibilities() []Visibility {
	return []Visibility{VisibilityPublic, VisibilityOrganization, VisibilityPrivate}
}

// ListingStatus is the state of a listing.
type ListingStatus string

// The states of a listing; listing_status.go draws and moves them.
const (
	ListingDraft      ListingStatus = "draft"
	ListingInReview   ListingStatus = "in_review"
	ListingPublished  ListingStatus = "published"
	ListingDeprecated ListingStatus = "deprecated"
	ListingSuspended  ListingStatus = "suspended"
)

// ListingStatuses returns every state.
func ListingStatuses() []ListingStatus {
	return []ListingStatus{ListingDraft, ListingInReview, ListingPublished, ListingDeprecated, ListingSuspended}
}

// Listing is how an agent is offered. It exists independently of what can run:
// an agent can be listed and bought before it has a version.
type Listing struct {
	AgentID   ids.Agent
	OrgID     ids.Org // the publisher
	Publisher string
	Name      string

	Content    ListingContent
	Visibility Visibility
	Status     ListingStatus
	// Notice is shown to buyers: why it is deprecated or suspended.
	Notice string
	// Approved says that an operator has let this listing out to those who may
	// see it by its visibility, or that no review was required.
	Approved bool
	// Checks is what the automated checks found at the last submission.
	Checks []Check

	CreatedAt   time.Time
	UpdatedAt   time.Time
	SubmittedAt time.Time
	PublishedAt time.Time // first time

	// What follows is derived, and never changed with the listing.

	Latest  string // number of the newest version; empty: none yet
	Model   Model  // of the price in effect when the listing was changed last
	Runs    int64  // that ended well or were charged
	Ratings int64  // number of reviews
	Stars   int64  // sum of their ratings
}

// FullName is publisher/name.
func (l Listing) FullName() string { return l.Publisher + "/" + l.Name }

// ListingContent is what the publisher says about an agent.
type ListingContent struct {
	Title      string
	Summary    string
	Readme     string // Markdown
	Categories []string
	Tags       []string
	IconURL    string // https
	SupportURL string // https or mailto
	Samples    []Sample
}

// Sample is an example of what goes in and what comes out.
type Sample struct {
	Title  string
	Input  json.RawMessage
	Output json.RawMessage // empty: none is shown
}

// The bounds of a listing.
const (
	MaxTitle       = 80  // characters
	MaxSummary     = 200 // characters
	MaxReadme      = 64 << 10
	MaxCategories  = 5
	MaxTags        = 10
	MaxURL         = 2048
	MaxSamples     = 5
	MaxSampleBytes = 16 << 10 // of an input or an output
	MaxNotice      = 500      // characters
	MaxComment     = 4000     // characters
)

// Check returns fault.Invalid with every field that is wrong, by its pointer in
// the request.
func (c ListingContent) Check() error {
	var f fields
	f.text("/title", c.Title, MaxTitle)
	f.text("/summary", c.Summary, MaxSummary)
	f.check(len(c.Readme) <= MaxReadme && utf8.ValidString(c.Readme) && !strings.ContainsRune(c.Readme, 0), "/readme",
		"must be text of at most 65536 bytes")
	f.labels("/categories", c.Categories, MaxCategories)
	f.labels("/tags", c.Tags, MaxTags)
	f.check(c.IconURL == "" || isURL(c.IconURL, "https"), "/icon_url", "must be an https address of at most 2048 bytes")
	f.check(c.SupportURL == "" || isURL(c.SupportURL, "https", "mailto"), "/support_url",
		"must be an https or mailto address of at most 2048 bytes")
	f.check(len(c.Samples) <= MaxSamples, "/samples", "must have at most 5 items")
	for i, s := range c.Samples {
		at := "/samples/" + strconv.Itoa(i)
		f.text(at+"/title", s.Title, MaxTitle)
		f.check(isSample(s.Input), at+"/input", "must be JSON of at most 16384 bytes")
		f.check(len(s.Output) == 0 || isSample(s.Output), at+"/output", "must be JSON of at most 16384 bytes")
	}
	return f.err()
}

// NewListing returns a draft.
func NewListing(agent ids.Agent, org Organization, name string, content ListingContent, visibility Visibility, now time.Time) (Listing, error) {
	if err := content.Check(); err != nil {
		return Listing{}, err
	}
	if !slices.Contains(Visibilities(), visibility) {
		return Listing{}, invalidField("/visibility", "must be public, organization or private")
	}
	return Listing{
		AgentID: agent, OrgID: org.ID, Publisher: org.Name, Name: name, Content: content,
		Visibility: visibility, Status: ListingDraft, CreatedAt: now, UpdatedAt: now,
	}, nil
}

// fields collects wrong fields, so that a caller sees all of them at once.
type fields []fault.Field

func (f *fields) check(ok bool, pointer, message string) {
	if !ok {
		*f = append(*f, fault.Field{Pointer: pointer, Message: message})
	}
}

func (f *fields) text(pointer, text string, most int) {
	if err := CheckText(text, pointer, most); err != nil {
		*f = append(*f, fault.From(err).Fields...)
	}
}

func (f *fields) labels(pointer string, labels []string, most int) {
	f.check(len(labels) <= most, pointer, "must have at most "+strconv.Itoa(most)+" items")
	for i, l := range labels {
		at := pointer + "/" + strconv.Itoa(i)
		f.check(label.MatchString(l), at, "must be 1 to 40 lower-case letters, digits and inner hyphens")
		f.check(!slices.Contains(labels[:i], l), at, "is there twice")
	}
}

func (f fields) err() error {
	if len(f) == 0 {
		return nil
	}
	return fault.New(fault.Invalid, "request_invalid", "the request is not valid").WithFields(f...)
}

func isSample(text []byte) bool {
	return len(text) <= MaxSampleBytes && json.Valid(text) && utf8.Valid(text)
}

func isURL(text string, schemes ...string) bool {
	u, err := url.Parse(text)
	return err == nil && len(text) <= MaxURL && utf8.ValidString(text) && slices.Contains(schemes, u.Scheme) &&
		(u.Hostname() != "" || u.Scheme == "mailto" && u.Opaque != "") && u.User == nil
}
