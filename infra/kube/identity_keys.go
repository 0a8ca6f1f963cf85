package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"k8s.io/client-go/kubernetes"
)

// clusterKeys are the public keys with which a cluster signs the tokens of pods. They
// are asked for when they are needed, and kept: a gateway does without the API server.
type clusterKeys struct {
	client kubernetes.Interface
	now    func() time.Time

	known   atomic.Pointer[keySet]
	reading sync.Mutex // of who asks for them
}

// keySet is what a cluster said of its keys.
type keySet struct {
	issuer string
	keys   map[string]jose.JSONWebKey // by identifier
	readAt time.Time
}

const (
	// keysAge is after how long keys are asked for again. Those that are known stay
	// good meanwhile, and for as long as the API server is away.
	keysAge = 10 * time.Minute
	// keysPause is how often a key that is not known makes anybody ask.
	keysPause = 10 * time.Second
)

// find returns the issuer of the cluster and one of its keys, nil where it has no such
// key. A cluster that cannot be asked is fault.Unavailable.
func (k *clusterKeys) find(ctx context.Context, id string) (issuer string, key *jose.JSONWebKey, err error) {
	set := k.known.Load()
	if key := set.key(id); key != nil {
		if k.now().Sub(set.readAt) > keysAge {
			k.refresh(context.WithoutCancel(ctx))
		}
		return set.issuer, key, nil
	}
	k.reading.Lock()
	defer k.reading.Unlock()
	if set = k.known.Load(); set.key(id) == nil && (set == nil || k.now().Sub(set.readAt) > keysPause) {
		if set, err = k.read(ctx); err != nil {
			return "", nil, err
		}
	}
	return set.issuer, set.key(id), nil
}

// refresh asks for the keys beside the calls that need them.
func (k *clusterKeys) refresh(ctx context.Context) {
	if !k.reading.TryLock() {
		return
	}
	go func() {
		defer k.reading.Unlock()
		_, _ = k.read(ctx) // the next call tries again
	}()
}

// read asks the cluster; the caller holds reading.
func (k *clusterKeys) read(ctx context.Context) (*keySet, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var about struct {
		Issuer string `json:"issuer"`
	}
	if err := k.get(ctx, "/.well-known/openid-configuration", &about); err != nil {
		return nil, err
	}
	var found jose.JSONWebKeySet
	if err := k.get(ctx, "/openid/v1/jwks", &found); err != nil {
		return nil, err
	}
	set := &keySet{issuer: about.Issuer, keys: map[string]jose.JSONWebKey{}, readAt: k.now()}
	for _, key := range found.Keys {
		if key.Valid() && key.IsPublic() {
			set.keys[key.KeyID] = key
		}
	}
	k.known.Store(set)
	return set, nil
}

func (k *clusterKeys) get(ctx context.Context, path string, into any) error {
	// Neither is served in the form of Kubernetes' own objects.
	body, err := k.client.Discovery().RESTClient().Get().AbsPath(path).
		SetHeader("Accept", "*/*").DoRaw(ctx)
	if err != nil {
		return interpret(err, "read "+path+" of the cluster")
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("read %s of the cluster: %w", path, err)
	}
	return nil
}

// key is one of the keys, nil where there is none.
func (s *keySet) key(id string) *jose.JSONWebKey {
	if s == nil {
		return nil
	}
	if key, ok := s.keys[id]; ok {
		return &key
	}
	return nil
}
