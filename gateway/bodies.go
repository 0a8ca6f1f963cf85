package gateway

import (
	"context"
	"io"
	"mime"
	"net/http"

	"agentmarket/agentruntime"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/infra"
	"agentmarket/product"
)

// putResult keeps the result of an attempt until it is collected. The supervisor says
// at the end which one it is.
func (g *gateway) putResult(w http.ResponseWriter, r *http.Request, ref infra.Ref) (int, any, error) {
	run, err := g.open(r.Context(), ref)
	if err != nil {
		return 0, nil, err
	}
	most := min(run.Plan.MaxOutputBytes, agentruntime.MaxResultBytes)
	if err := g.withoutSecrets(w, r, ref, most); err != nil {
		return 0, nil, err
	}
	return g.store(r, ref, product.ResultArtifact, "application/json", most)
}

// putArtifact keeps a file of an attempt.
func (g *gateway) putArtifact(_ http.ResponseWriter, r *http.Request, ref infra.Ref) (int, any, error) {
	name := r.PathValue("name")
	if !agentruntime.ValidArtifactName(name) {
		return 0, nil, fault.Newf(fault.Invalid, "artifact_name_invalid",
			"the name of an artifact has 1 to %d letters, digits, dots, underscores and hyphens, a letter, a digit or an underscore first", agentruntime.MaxArtifactName)
	}
	return g.store(r, ref, name, contentType(r), product.MaxArtifactBytes)
}

// contentType is what an agent says that a file is, without parameters. It is told to
// whoever fetches the file, who is told to believe nothing else.
func contentType(r *http.Request) string {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || len(media) > 100 {
		return "application/octet-stream"
	}
	return media
}

// store streams a body to the blob store. Its row is there before it, so that whatever
// happens somebody knows of the body, and removes it with the data of the run.
func (g *gateway) store(r *http.Request, ref infra.Ref, name, contentType string, most int64) (int, any, error) {
	if r.ContentLength > most {
		return 0, nil, tooLarge(most)
	}
	id := ids.New[ids.Artifact](ids.PrefixArtifact)
	artifact := product.Artifact{
		ID: id, RunID: ref.Run, Attempt: ref.Attempt, Name: name, ContentType: contentType, CreatedAt: g.Now(),
		Blob: product.Blob{Key: product.ArtifactKey(ref.Run, id)},
	}
	if err := g.Sessions.BeginArtifact(r.Context(), artifact); err != nil {
		return 0, nil, err
	}
	blob, err := g.Blobs.PutStream(r.Context(), artifact.Blob.Key, contentType, whole{r.Body}, most)
	if err != nil {
		return 0, nil, err
	}
	artifact.Blob = blob
	replaced, err := g.Sessions.FinishArtifact(r.Context(), artifact)
	if err != nil {
		g.forget(r.Context(), blob.Key)
		return 0, nil, err
	}
	if replaced != nil {
		g.forget(r.Context(), replaced.Blob.Key)
	}
	return http.StatusOK, agentruntime.GatewayBody{Size: blob.Size, SHA256: blob.SHA256}, nil
}

func tooLarge(most int64) error {
	return fault.Newf(fault.TooLarge, "body_too_large", "the body has more than %d bytes", most)
}

// whole tells a body that ended early from one that ended.
type whole struct{ io.Reader }

func (b whole) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // as io.Reader demands
		err = fault.Wrap(fault.Invalid, err, "the body ended early")
	}
	return n, err
}

// forget removes a body that nobody will ask for. What stays is removed with the data
// of the run.
func (g *gateway) forget(ctx context.Context, key string) {
	if err := g.Blobs.Delete(context.WithoutCancel(ctx), key); err != nil {
		g.Log.WarnContext(ctx, "body left until the data of its run is removed", "key", key, "error", err)
	}
}
