package gateway

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
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
	files, values := make([]agentruntime.GatewaySecretFile, len(run.Plan.SecretFiles)), make([][]byte, len(run.Plan.SecretFiles))
	room := agentruntime.MaxSecretFilesBytes
	for i, name := range run.Plan.SecretFiles {
		value, err := g.secret(r.Context(), run, name)
		if err != nil {
			return 0, nil, err
		}
		if room -= len(value); room < 0 {
			return 0, nil, fault.Newf(fault.Conflict, "secret_files_too_large", "the secrets that the agent reads have more than %d bytes", agentruntime.MaxSecretFilesBytes)
		}
		files[i] = agentruntime.GatewaySecretFile{Name: name, Value: value}
		values[i] = value
	}
	g.redactors.know(sessionKey{ref.Run, ref.Attempt}, values, g.Now())
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
	// redactorFresh is how long a redactor is used before the secrets are read again,
	// redactorLife how long one with values is kept that nobody used.
	redactorFresh = time.Minute
	redactorLife  = time.Hour
	// maxRedactors bounds those that are kept. The largest have about two MiB.
	maxRedactors = 128
)

// redactors keep the secrets that agents read out of what they tell. An agent goes on with
// the value that it has read when there is another one: old values are looked for, too, as
// far as this process knows them.
type redactors struct {
	mu      sync.Mutex
	kept    map[sessionKey]keptRedactor
	some    int // of kept, that have values
	sweptAt time.Time
}

type keptRedactor struct {
	redactor *agentruntime.Redactor
	values   [][]byte // newest first
	madeAt   time.Time
	usedAt   time.Time
}

// redactor is that of an attempt that goes on, nil where its agent reads no secrets.
// Without it nothing of the agent is stored.
func (g *gateway) redactor(ctx context.Context, ref infra.Ref) (*agentruntime.Redactor, error) {
	if found, known := g.redactors.get(sessionKey{ref.Run, ref.Attempt}, g.Now()); known {
		return found, nil
	}
	run, err := g.open(ctx, ref)
	if err != nil {
		return nil, err
	}
	return g.redactorOf(ctx, run, ref.Attempt)
}

// redactorOf reads the secrets again.
func (g *gateway) redactorOf(ctx context.Context, run product.Run, attempt int) (*agentruntime.Redactor, error) {
	if run.Plan == nil {
		return nil, nil //nolint:nilnil // the nil Redactor changes nothing
	}
	var values [][]byte
	for _, name := range run.Plan.SecretFiles {
		value, err := g.secret(ctx, run, name)
		if fault.Is(err, fault.NotFound) { // removed meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	return g.redactors.know(sessionKey{run.ID, attempt}, values, g.Now()), nil
}

func (r *redactors) get(key sessionKey, now time.Time) (*agentruntime.Redactor, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept, known := r.kept[key]
	if !known || now.Sub(kept.madeAt) >= redactorFresh {
		return nil, false
	}
	kept.usedAt = now
	r.kept[key] = kept
	return kept.redactor, true
}

// know adds values to those of an attempt, and returns its redactor. Together they have
// twice as many bytes as an agent may read: the oldest go.
func (r *redactors) know(key sessionKey, values [][]byte, now time.Time) *agentruntime.Redactor {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all [][]byte
	room := 2 * agentruntime.MaxSecretFilesBytes
	for _, value := range slices.Concat(values, r.kept[key].values) {
		same := slices.ContainsFunc(all, func(have []byte) bool { return bytes.Equal(have, value) })
		if !same && len(value) <= room {
			all, room = append(all, value), room-len(value)
		}
	}
	r.forget(key)
	if now.Sub(r.sweptAt) > redactorFresh {
		r.sweptAt = now
		r.forgetWhere(func(k keptRedactor) bool {
			return len(k.values) == 0 && now.Sub(k.madeAt) >= redactorFresh || now.Sub(k.usedAt) > redactorLife
		})
	}
	if len(all) > 0 {
		if r.some >= maxRedactors {
			r.forgetOldest()
		}
		r.some++
	}
	kept := keptRedactor{agentruntime.NewRedactor(all...), all, now, now}
	r.kept[key] = kept
	return kept.redactor
}

func (r *redactors) forgetWhere(due func(keptRedactor) bool) {
	for key, kept := range r.kept {
		if due(kept) {
			r.forget(key)
		}
	}
}

// forgetOldest makes room for another one with values.
func (r *redactors) forgetOldest() {
	var oldest sessionKey
	var at time.Time
	for key, kept := range r.kept {
		if len(kept.values) > 0 && (at.IsZero() || kept.usedAt.Before(at)) {
			oldest, at = key, kept.usedAt
		}
	}
	r.forget(oldest)
}

func (r *redactors) forget(key sessionKey) {
	if len(r.kept[key].values) > 0 {
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
