package api

import (
	"encoding/json"
	"math"
	"slices"
	"time"

	"agentmarket/marketplace"
	"agentmarket/product"
)

// listingRequest is what a publisher says about an agent.
type listingRequest struct {
	Title      string       `json:"title" minLength:"1" maxLength:"80" doc:"On one line." example:"Invoice reader"`
	Summary    string       `json:"summary" minLength:"1" maxLength:"200" doc:"On one line, for lists." example:"Reads invoices into JSON."`
	Readme     string       `json:"readme,omitempty" maxLength:"65536" doc:"Markdown, at most 65536 bytes." example:"# Invoice reader"`
	Categories []string     `json:"categories,omitempty" maxItems:"5" pattern:"^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$" doc:"1 to 40 lower-case letters, digits and inner hyphens each." example:"[\"finance\"]"`
	Tags       []string     `json:"tags,omitempty" maxItems:"10" pattern:"^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$" doc:"As categories." example:"[\"pdf\", \"ocr\"]"`
	IconURL    string       `json:"icon_url,omitempty" maxLength:"2048" doc:"https." example:"https://example.com/icon.png"`
	SupportURL string       `json:"support_url,omitempty" maxLength:"2048" doc:"https or mailto." example:"mailto:help@example.com"`
	Samples    []sampleBody `json:"samples,omitempty" maxItems:"5" doc:"Inputs to try first, and what comes out."`
	Visibility string       `json:"visibility" enum:"public,organization,private" doc:"public: everybody; organization: your own; private: your own, and whom you grant it."`
}

// sampleBody is an example of what goes in and what comes out.
type sampleBody struct {
	Title  string          `json:"title" minLength:"1" maxLength:"80" example:"One page"`
	Input  json.RawMessage `json:"input" doc:"Any JSON value of at most 16384 bytes that matches the input schema." example:"{\"url\": \"https://example.com/invoice.pdf\"}"`
	Output json.RawMessage `json:"output,omitempty" doc:"Any JSON value of at most 16384 bytes that matches the output schema."`
}

func (r listingRequest) content() marketplace.ListingContent {
	c := marketplace.ListingContent{
		Title: r.Title, Summary: r.Summary, Readme: r.Readme, Categories: r.Categories, Tags: r.Tags,
		IconURL: r.IconURL, SupportURL: r.SupportURL,
	}
	for _, s := range r.Samples {
		c.Samples = append(c.Samples, marketplace.Sample(s))
	}
	return c
}

// listingBody is how an agent is offered. Lists leave readme, samples and
// permissions out.
type listingBody struct {
	Agent       string           `json:"agent" example:"acme/greeter"`
	AgentID     string           `json:"agent_id" example:"agt_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	Title       string           `json:"title"`
	Summary     string           `json:"summary"`
	Readme      string           `json:"readme,omitempty" doc:"Markdown. Not in lists."`
	Categories  []string         `json:"categories"`
	Tags        []string         `json:"tags"`
	IconURL     string           `json:"icon_url,omitempty"`
	SupportURL  string           `json:"support_url,omitempty"`
	Samples     []sampleBody     `json:"samples,omitempty" doc:"Not in lists."`
	Visibility  string           `json:"visibility" doc:"public, organization or private."`
	Status      string           `json:"status" doc:"draft, in_review, published, deprecated or suspended." example:"published"`
	Notice      string           `json:"notice,omitempty" doc:"Why it is deprecated or suspended."`
	Latest      string           `json:"latest,omitempty" doc:"The newest version. Absent: a preview, there is none yet." example:"1.2.0"`
	Model       string           `json:"model" doc:"How it is paid for: free, per_run, per_second, per_event or subscription."`
	Price       *priceBody       `json:"price,omitempty" doc:"In effect. In the catalog; absent there: it is free."`
	Rating      ratingBody       `json:"rating"`
	Runs        int64            `json:"runs" doc:"That ended well or were charged, brought up to date every few minutes."`
	Checks      []checkBody      `json:"checks,omitempty" doc:"What was found at the last submission. For the publisher and operators."`
	Permissions *permissionsBody `json:"permissions,omitempty" doc:"What buyers are asked to agree to: of the version in the channel stable. Not in lists."`
	CreatedAt   time.Time        `json:"created_at"`
	UpdatedAt   time.Time        `json:"updated_at"`
	SubmittedAt *time.Time       `json:"submitted_at,omitempty" doc:"The last time. For the publisher and operators."`
	PublishedAt *time.Time       `json:"published_at,omitempty" doc:"The first time."`
	URLs        listingURLs      `json:"urls"`
}

type listingURLs struct {
	Self    string `json:"self"`
	Agent   string `json:"agent"`
	Reviews string `json:"reviews"`
	Web     string `json:"web,omitempty"`
}

type ratingBody struct {
	Count int64    `json:"count"`
	Mean  *float64 `json:"mean,omitempty" doc:"1 to 5, to two decimals. Absent: nobody has rated it."`
}

func ratingBodyOf(l marketplace.Listing) ratingBody {
	body := ratingBody{Count: l.Ratings}
	if l.Ratings > 0 {
		body.Mean = new(math.Round(float64(l.Stars)/float64(l.Ratings)*100) / 100)
	}
	return body
}

type checkBody struct {
	Name    string   `json:"name" doc:"manifest, schemas, image, samples or permissions. The set may grow."`
	Passed  bool     `json:"passed"`
	Message string   `json:"message"`
	Details []string `json:"details,omitempty"`
}

// permissionsBody is what a version asks of its buyer.
type permissionsBody struct {
	Tools       []string `json:"tools"`
	Models      []string `json:"models"`
	Secrets     []string `json:"secrets"`
	SecretFiles []string `json:"secret_files" doc:"Secrets that the agent reads itself, as files."`
	Egress      []string `json:"egress" doc:"Hosts to connect to."`
	CPUMillis   int64    `json:"cpu_millis"`
	MemoryMiB   int64    `json:"memory_mib"`
	DiskMiB     int64    `json:"disk_mib"`
	RunSeconds  int64    `json:"run_seconds" doc:"How long one run may take."`
	Words       []string `json:"words" doc:"The same for people."`
}

func permissionsBodyOf(p product.Permissions) *permissionsBody {
	return &permissionsBody{
		Tools: textsOf(p.Tools), Models: textsOf(p.Models), Secrets: textsOf(p.Secrets), SecretFiles: textsOf(p.SecretFiles), Egress: textsOf(p.Egress),
		CPUMillis: p.CPUMillis, MemoryMiB: p.MemoryMiB, DiskMiB: p.DiskMiB, RunSeconds: p.RunSeconds,
		Words: marketplace.DescribePermissions(p),
	}
}

// listingSummary is a listing in a list: what everybody may see of it.
func (a *app) listingSummary(l marketplace.Listing) listingBody {
	agent := agentPath(l.Publisher, l.Name)
	body := listingBody{
		Agent: l.FullName(), AgentID: string(l.AgentID), Title: l.Content.Title, Summary: l.Content.Summary,
		Categories: textsOf(l.Content.Categories), Tags: textsOf(l.Content.Tags),
		IconURL: l.Content.IconURL, SupportURL: l.Content.SupportURL,
		Visibility: string(l.Visibility), Status: string(l.Status), Notice: l.Notice, Latest: l.Latest,
		Model: string(l.Model), Rating: ratingBodyOf(l), Runs: l.Runs,
		CreatedAt: l.CreatedAt.UTC(), UpdatedAt: l.UpdatedAt.UTC(), PublishedAt: when(l.PublishedAt),
		URLs: listingURLs{Self: agent + "/listing", Agent: agent, Reviews: agent + "/reviews"},
	}
	if a.WebURL != "" {
		body.URLs.Web = a.WebURL + "/agents/" + l.FullName()
	}
	return body
}

// listingWhole is a listing with everything that a buyer may see.
func (a *app) listingWhole(l marketplace.Listing, version *product.Version) listingBody {
	body := a.listingSummary(l)
	body.Readme = l.Content.Readme
	for _, s := range l.Content.Samples {
		body.Samples = append(body.Samples, sampleBody(s))
	}
	if version != nil {
		body.Permissions = permissionsBodyOf(product.PermissionsOf(version.Manifest))
	}
	return body
}

// inside adds what only the publisher and operators see.
func (b listingBody) inside(l marketplace.Listing) listingBody {
	b.SubmittedAt = when(l.SubmittedAt)
	for _, c := range l.Checks {
		b.Checks = append(b.Checks, checkBody{c.Name, c.Passed, c.Message, slices.Clone(c.Details)})
	}
	return b
}

// commentBody is a remark of the review of a listing.
type commentBody struct {
	ID        string    `json:"id" example:"com_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	Author    string    `json:"author" doc:"The person or the API key."`
	Text      string    `json:"text"`
	Internal  bool      `json:"internal,omitempty" doc:"For operators only."`
	CreatedAt time.Time `json:"created_at"`
}

func commentBodyOf(c marketplace.Comment) commentBody {
	return commentBody{ID: string(c.ID), Author: c.Author, Text: c.Text, Internal: c.Internal, CreatedAt: c.At.UTC()}
}
