package api

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"

	"agentmarket/agentruntime"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// Artifacts lists what runs left beside their results, see product.SessionStore.
type Artifacts interface {
	Artifacts(ctx context.Context, run ids.Run) ([]product.Artifact, error)
}

type artifactsBody struct {
	Items []artifactBody `json:"items"`
}

type artifactBody struct {
	Name        string    `json:"name" example:"report.txt"`
	Attempt     int       `json:"attempt" doc:"Which attempt of the run left it."`
	ContentType string    `json:"content_type" doc:"What the agent says that it is." example:"text/plain"`
	Size        int64     `json:"size" doc:"In bytes."`
	SHA256      string    `json:"sha256" doc:"Hex."`
	CreatedAt   time.Time `json:"created_at"`
}

type artifactsAnswer struct{ Body artifactsBody }

func (a *app) routeArtifacts() {
	handle(a, route{
		id: "list-artifacts", method: http.MethodGet, path: "/v1/runs/{id}/artifacts", tag: tagRuns, action: marketplace.ActRunsRead,
		summary:     "List the files that a run left beside its result",
		description: "While the run goes on, too. At most 100, of the newest attempt first. They are kept as long as the result.",
		problems:    []string{"run_not_found"},
	}, a.listArtifacts)
	handle(a, route{
		id: "get-artifact", method: http.MethodGet, path: "/v1/runs/{id}/artifacts/{artifact}", tag: tagRuns, action: marketplace.ActRunsRead,
		summary:     "Get a file that a run left",
		description: "Of the newest attempt that left one of this name. The agent made it: nothing here vouches for what is in it.",
		content: map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{
			Type: huma.TypeString, Format: "binary", Description: "The file itself, of the type that the agent gave it.",
		}}},
		problems: []string{"run_not_found", "artifact_not_found", "data_removed", "too_many_streams"},
	}, a.getArtifact)
}

func (a *app) listArtifacts(ctx context.Context, in *runInput) (*artifactsAnswer, error) {
	run, err := a.run(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	found, err := a.artifacts(ctx, run.ID)
	if err != nil {
		return nil, err
	}
	body := artifactsBody{Items: []artifactBody{}}
	for _, f := range found {
		body.Items = append(body.Items, artifactBody{
			Name: f.Name, Attempt: f.Attempt, ContentType: f.ContentType, Size: f.Blob.Size, SHA256: f.Blob.SHA256, CreatedAt: f.CreatedAt.UTC(),
		})
	}
	return &artifactsAnswer{body}, nil
}

// artifacts are those of a run that agents named.
func (a *app) artifacts(ctx context.Context, run ids.Run) (named []product.Artifact, err error) {
	all, err := a.Artifacts.Artifacts(ctx, run)
	for _, f := range all {
		if agentruntime.ValidArtifactName(f.Name) {
			named = append(named, f)
		}
	}
	return named, err
}

type artifactInput struct {
	ID       string `path:"id" doc:"The run."`
	Artifact string `path:"artifact" maxLength:"128" doc:"Its name." example:"report.txt"`
}

func (a *app) getArtifact(ctx context.Context, in *artifactInput) (*streamAnswer, error) {
	run, err := a.run(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	found, err := a.artifacts(ctx, run.ID)
	if err != nil {
		return nil, err
	}
	for _, f := range found {
		if f.Name == in.Artifact {
			return a.sendArtifact(ctx, f)
		}
	}
	if run.Removed(product.BodyOutput) {
		return nil, dataRemoved("output")
	}
	return nil, fault.New(fault.NotFound, "artifact_not_found", "the run left no such file")
}

// sendArtifact streams a file that a stranger made: as something to keep, which no
// browser shows or runs.
func (a *app) sendArtifact(ctx context.Context, f product.Artifact) (*streamAnswer, error) {
	release, err := a.takePlace()
	if err != nil {
		return nil, err
	}
	// It outlives this call: the answer is written afterwards.
	body, err := a.Blobs.Reader(context.WithoutCancel(ctx), f.Blob.Key)
	if err != nil {
		release()
		if isNotFound(err) { // it is just being removed
			err = dataRemoved("output")
		}
		return nil, err
	}
	return &streamAnswer{Body: func(hc huma.Context) {
		defer release()
		defer body.Close()
		header := humagin.Unwrap(hc).Writer.Header()
		header.Set("Content-Disposition", `attachment; filename="`+f.Name+`"`)
		header.Set("Content-Length", strconv.FormatInt(f.Blob.Size, 10))
		header.Set("Content-Security-Policy", "sandbox; default-src 'none'")
		header.Set("ETag", `"`+f.Blob.SHA256+`"`)
		out := newStream(hc, f.ContentType, false)
		if _, err := io.Copy(out, body); err != nil {
			broken(hc.Context())
		}
	}}, nil
}
