package gateway

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"agentmarket/agentruntime"
	"agentmarket/fault"
	"agentmarket/infra"
	"agentmarket/product"
)

// getSecretFiles gives a run the secrets that its agent reads itself.
func (g *gateway) getSecretFiles(_ http.ResponseWriter, r *http.Request, ref infra.Ref) (int, any, error) {
	run, err := g.open(r.Context(), ref)
	if err != nil {
		return 0, nil, err
	}
	files, room := make([]agentruntime.GatewaySecretFile, len(run.Plan.SecretFiles)), agentruntime.MaxSecretFilesBytes
	for i, name := range run.Plan.SecretFiles {
		value, err := g.secret(r.Context(), run, name)
		if err != nil {
			return 0, nil, err
		}
		if room -= len(value); room < 0 {
			return 0, nil, fault.Newf(fault.Conflict, "secret_files_too_large", "the secrets that the agent reads have more than %d bytes", agentruntime.MaxSecretFilesBytes)
		}
		files[i] = agentruntime.GatewaySecretFile{Name: name, Value: value}
	}
	return http.StatusOK, agentruntime.GatewaySecretFiles{Files: files}, nil
}

// secret is one of the organization whose run it is.
func (g *gateway) secret(ctx context.Context, run product.Run, name string) ([]byte, error) {
	if g.Tools.Secrets == nil {
		return nil, fault.Newf(fault.NotFound, "secret_not_found", "there is no secret %s", name)
	}
	return g.Tools.Secrets.Secret(ctx, run.OrgID, name)
}

const (
	// redactorLife is how long a redactor is kept: then a new value of a secret is known.
	redactorLife = time.Minute
	// maxRedactors bounds those that are kept. The largest have about a MiB.
	maxRedactors = 128
)

// redactors keep the secrets that agents read out of what they tell.
type redactors struct {
	mu      sync.Mutex
	kept    map[sessionKey]keptRedactor
	some    int // of kept, that look for something
	sweptAt time.Time
}

type keptRedactor struct {
	redactor *agentruntime.Redactor
	until    time.Time
}

// redactor is that of an attempt that goes on, nil where its agent reads no secrets.
// Without it nothing of the agent is stored.
func (g *gateway) redactor(ctx context.Context, ref infra.Ref) (*agentruntime.Redactor, error) {
	key := sessionKey{ref.Run, ref.Attempt}
	if found, known := g.redactors.get(key, g.Now()); known {
		return found, nil
	}
	run, err := g.open(ctx, ref)
	if err != nil {
		return nil, err
	}
	made, err := g.redactorOf(ctx, run)
	if err == nil {
		g.redactors.put(key, made, g.Now())
	}
	return made, err
}

// redactorOf makes one. A secret that was removed meanwhile is none any more.
func (g *gateway) redactorOf(ctx context.Context, run product.Run) (*agentruntime.Redactor, error) {
	if run.Plan == nil {
		return nil, nil //nolint:nilnil // the nil Redactor changes nothing
	}
	var values [][]byte
	room := agentruntime.MaxSecretFilesBytes
	for _, name := range run.Plan.SecretFiles {
		value, err := g.secret(ctx, run, name)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if room -= len(value); room < 0 { // the agent got none of them
			break
		}
		values = append(values, value)
	}
	return agentruntime.NewRedactor(values...), nil
}

func (r *redactors) get(key sessionKey, now time.Time) (*agentruntime.Redactor, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept, known := r.kept[key]
	return kept.redactor, known && now.Before(kept.until)
}

func (r *redactors) put(key sessionKey, made *agentruntime.Redactor, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(key)
	if now.Sub(r.sweptAt) > redactorLife {
		r.sweptAt = now
		r.forgetWhere(func(k keptRedactor) bool { return now.After(k.until) })
	}
	if made != nil {
		if r.some >= maxRedactors {
			r.forgetWhere(func(k keptRedactor) bool { return k.redactor != nil }) // the next call makes it again
		}
		r.some++
	}
	r.kept[key] = keptRedactor{made, now.Add(redactorLife)}
}

func (r *redactors) forgetWhere(due func(keptRedactor) bool) {
	for key, kept := range r.kept {
		if due(kept) {
			r.forget(key)
		}
	}
}

func (r *redactors) forget(key sessionKey) {
	if r.kept[key].redactor != nil {
		r.some--
	}
	delete(r.kept, key)
}

// withoutSecrets replaces a JSON value that an agent sends by one without the secrets that
// it reads.
func (g *gateway) withoutSecrets(w http.ResponseWriter, r *http.Request, ref infra.Ref, most int64) error {
	redactor, err := g.redactor(r.Context(), ref)
	if err != nil || redactor == nil {
		return err
	}
	body, err := readBody(w, r, most)
	if err != nil {
		return err
	}
	body = redactor.JSON(body)
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return nil
}
