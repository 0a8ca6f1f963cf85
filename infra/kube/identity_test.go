package kube

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	metafake "k8s.io/client-go/metadata/fake"
	"k8s.io/client-go/rest"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/infra"
)

// signingCluster is an API server that tells its keys, and signs tokens.
type signingCluster struct {
	url   string
	keys  jose.JSONWebKeySet
	reads atomic.Int64
	away  atomic.Bool
}

func startSigning(t *testing.T) *signingCluster {
	t.Helper()
	c := &signingCluster{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.reads.Add(1)
		var answer any
		switch {
		case r.Header.Get("Accept") != "*/*":
			w.WriteHeader(http.StatusNotAcceptable)
			return
		case c.away.Load():
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		case r.URL.Path == "/.well-known/openid-configuration":
			answer = map[string]string{"issuer": "https://cluster.test"}
		case r.URL.Path == "/openid/v1/jwks":
			answer = c.keys
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(server.Close)
	c.url = server.URL
	return c
}

// key makes a key of the cluster and returns a signer of it.
func (c *signingCluster) key(t *testing.T, id string, private any, alg jose.SignatureAlgorithm) jose.Signer {
	t.Helper()
	web := jose.JSONWebKey{Key: private, KeyID: id, Algorithm: string(alg), Use: "sig"}
	c.keys.Keys = append(c.keys.Keys, web.Public())
	return signer(t, web, alg)
}

func signer(t *testing.T, key jose.JSONWebKey, alg jose.SignatureAlgorithm) jose.Signer {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, nil)
	require.NoError(t, err)
	return s
}

func rsaKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	return key
}

// claimsOf are those of a token of a pod, as Kubernetes makes them.
func claimsOf(pod *metav1.PartialObjectMetadata) map[string]any {
	return map[string]any{
		"iss": "https://cluster.test", "aud": []string{Audience},
		"exp": time.Now().Add(10 * time.Minute).Unix(), "nbf": time.Now().Add(-time.Second).Unix(),
		"kubernetes.io": map[string]any{
			"namespace": pod.Namespace, "pod": map[string]any{"name": pod.Name, "uid": string(pod.UID)},
		},
	}
}

func tokenOf(t *testing.T, s jose.Signer, claims map[string]any, changes ...func(map[string]any)) string {
	t.Helper()
	for _, change := range changes {
		change(claims)
	}
	text, err := jwt.Signed(s).Claims(claims).Serialize()
	require.NoError(t, err)
	return text
}

func aPod(namespace, name string, ref infra.Ref) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, UID: types.UID("uid-" + name),
			Labels: labelsOf(infra.Sandbox{Ref: ref}),
		},
	}
}

func identitiesOf(t *testing.T, c *signingCluster, pods ...runtime.Object) *Identities {
	t.Helper()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: c.url})
	require.NoError(t, err)
	scheme := metafake.NewTestScheme()
	require.NoError(t, metav1.AddMetaToScheme(scheme))
	i := NewIdentities(client, metafake.NewSimpleMetadataClient(scheme, pods...), config())
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- i.Run(ctx) }()
	t.Cleanup(func() { stop(); require.NoError(t, <-done) })
	require.Eventually(t, i.Ready, 5*time.Second, time.Millisecond, "the pods are known")
	return i
}

func aRef() infra.Ref {
	return infra.Ref{Run: ids.New[ids.Run](ids.PrefixRun), Attempt: 2, Org: ids.New[ids.Org](ids.PrefixOrg)}
}

func TestTokensSpeakForTheirAttempt(t *testing.T) {
	c := startSigning(t)
	ref := aRef()
	pod := aPod(config().Namespace, "run-1", ref)
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	signers := []jose.Signer{c.key(t, "rsa", rsaKey(t), jose.RS256), c.key(t, "ec", ecKey, jose.ES256)}
	i := identitiesOf(t, c, pod)
	for _, s := range signers {
		got, err := i.Attempt(t.Context(), tokenOf(t, s, claimsOf(pod)))
		require.NoError(t, err)
		require.Equal(t, ref, got)
	}
	require.EqualValues(t, 2, c.reads.Load(), "the keys are asked for once")
}

func TestOtherTokensAreRefused(t *testing.T) {
	c := startSigning(t)
	private := rsaKey(t)
	signed := c.key(t, "rsa", private, jose.RS256)
	ref := aRef()
	mine, elsewhere, lookalike := aPod(config().Namespace, "run-1", ref), aPod("default", "run-1", ref), aPod(config().Namespace+"-evil", "run-1", ref)
	unlabeled := aPod(config().Namespace, "other", ref)
	unlabeled.Labels = map[string]string{labelManagedBy: managedBy}
	i := identitiesOf(t, c, mine, elsewhere, lookalike, unlabeled)
	forged := signer(t, jose.JSONWebKey{Key: rsaKey(t), KeyID: "rsa"}, jose.RS256)
	unknown := signer(t, jose.JSONWebKey{Key: rsaKey(t), KeyID: "other"}, jose.RS256)
	hmac := signer(t, jose.JSONWebKey{Key: []byte(strings.Repeat("k", 32)), KeyID: "rsa"}, jose.HS256)
	claim := func(name string, value any) func(map[string]any) {
		return func(c map[string]any) { c[name] = value }
	}
	for name, token := range map[string]string{
		"empty":                  "",
		"no token":               "a.b.c",
		"too long":               strings.Repeat("a", maxToken+1),
		"another key":            tokenOf(t, forged, claimsOf(mine)),
		"an unknown key":         tokenOf(t, unknown, claimsOf(mine)),
		"a shared key":           tokenOf(t, hmac, claimsOf(mine)),
		"no signature":           strings.TrimRight(tokenOf(t, signed, claimsOf(mine)), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"),
		"expired":                tokenOf(t, signed, claimsOf(mine), claim("exp", time.Now().Add(-time.Second).Unix())),
		"without an end":         tokenOf(t, signed, claimsOf(mine), func(c map[string]any) { delete(c, "exp") }),
		"not yet":                tokenOf(t, signed, claimsOf(mine), claim("nbf", time.Now().Add(time.Minute).Unix())),
		"for the API server":     tokenOf(t, signed, claimsOf(mine), claim("aud", []string{"https://cluster.test"})),
		"of another cluster":     tokenOf(t, signed, claimsOf(mine), claim("iss", "https://other.test")),
		"of no pod":              tokenOf(t, signed, claimsOf(mine), claim("kubernetes.io", map[string]any{"namespace": mine.Namespace})),
		"of another UID":         tokenOf(t, signed, claimsOf(mine), claim("kubernetes.io", map[string]any{"namespace": mine.Namespace, "pod": map[string]any{"name": mine.Name, "uid": "before"}})),
		"of a pod that was":      tokenOf(t, signed, claimsOf(aPod(config().Namespace, "gone", ref))),
		"of no run":              tokenOf(t, signed, claimsOf(unlabeled)),
		"elsewhere":              tokenOf(t, signed, claimsOf(elsewhere)),
		"in a lookalike of ours": tokenOf(t, signed, claimsOf(lookalike)),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := i.Attempt(t.Context(), token)
			require.True(t, fault.Is(err, fault.Unauthenticated), "%v", err)
			require.Equal(t, "token_invalid", fault.From(err).Code)
		})
	}
}

func TestKeysOutliveTheAPIServerAndAreReplaced(t *testing.T) {
	c := startSigning(t)
	ref := aRef()
	pod := aPod(config().Namespace, "run-1", ref)
	first := c.key(t, "first", rsaKey(t), jose.RS256)
	i := identitiesOf(t, c, pod)
	c.away.Store(true)
	_, err := i.Attempt(t.Context(), tokenOf(t, first, claimsOf(pod)))
	require.True(t, fault.Is(err, fault.Unavailable), "without keys nobody knows: %v", err)
	c.away.Store(false)
	_, err = i.Attempt(t.Context(), tokenOf(t, first, claimsOf(pod)))
	require.NoError(t, err)

	c.away.Store(true)
	later := time.Now().Add(keysAge + time.Second)
	i.keys.now = func() time.Time { return later }
	_, err = i.Attempt(t.Context(), tokenOf(t, first, claimsOf(pod)))
	require.NoError(t, err, "what is known stays good")

	i.keys.reading.Lock() // whoever asked has got an answer
	c.away.Store(false)
	i.keys.now = func() time.Time { return later.Add(keysAge) }
	i.keys.reading.Unlock()
	second := c.key(t, "second", rsaKey(t), jose.RS256)
	_, err = i.Attempt(t.Context(), tokenOf(t, second, claimsOf(pod)))
	require.NoError(t, err, "a new key is found")
	reads := c.reads.Load()
	unknown := signer(t, jose.JSONWebKey{Key: rsaKey(t), KeyID: "unknown"}, jose.RS256)
	for range 10 {
		_, err = i.Attempt(t.Context(), tokenOf(t, unknown, claimsOf(pod)))
		require.True(t, fault.Is(err, fault.Unauthenticated))
	}
	require.Equal(t, reads, c.reads.Load(), "who makes up keys makes nobody ask")
}

func FuzzAttemptOfToken(f *testing.F) {
	f.Add("a.b.c")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	client, err := kubernetes.NewForConfig(&rest.Config{Host: "http://127.0.0.1:1"})
	require.NoError(f, err)
	i := &Identities{keys: &clusterKeys{client: client, now: time.Now}, cfg: config(), now: time.Now}
	i.keys.known.Store(&keySet{issuer: "i", keys: map[string]jose.JSONWebKey{}, readAt: time.Now().Add(time.Hour)})
	f.Fuzz(func(t *testing.T, token string) {
		_, err := i.Attempt(t.Context(), token)
		require.True(t, fault.Is(err, fault.Unauthenticated))
	})
}
