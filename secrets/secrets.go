package secrets

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
	"gocloud.dev/secrets"
	_ "gocloud.dev/secrets/awskms"       // awskms://
	_ "gocloud.dev/secrets/localsecrets" // base64key://, for tests

	"agentmarket/fault"
)

// CodeNotConfigured is the code of what needs a keyset on a platform that has none.
const CodeNotConfigured = "secrets_not_configured"

// maxKeyset bounds a keyset, in bytes.
const maxKeyset = 1 << 20

// Config says where the keys are.
type Config struct {
	// File is a keyset in Tink's JSON form. Empty: there are no keys.
	File string
	// KeeperURL names the key that the keyset is wrapped by, such as
	// awskms://alias/agentmarket?region=eu-central-1. Empty: it is in the clear.
	KeeperURL string
}

// Vault seals and opens values. The nil Vault has no keys.
type Vault struct {
	cipher  tink.AEAD
	primary uint32 // the key that seals
}

// Open reads the keys. Without any the vault is nil.
func Open(ctx context.Context, c Config) (*Vault, error) {
	if c.File == "" {
		return nil, nil //nolint:nilnil // none is an answer
	}
	handle, err := c.read(ctx)
	if err != nil {
		return nil, err
	}
	cipher, err := aead.New(handle)
	if err != nil {
		return nil, fmt.Errorf("keyset of %s: %w", c.File, err)
	}
	return &Vault{cipher, handle.KeysetInfo().GetPrimaryKeyId()}, nil
}

// Seal encrypts a value for a place, which names its kind and its row.
// fault.Conflict, secrets_not_configured: there are no keys.
func (v *Vault) Seal(value []byte, place string) ([]byte, error) {
	if v == nil {
		return nil, notConfigured()
	}
	return v.cipher.Encrypt(value, []byte(place))
}

// Open decrypts what was sealed for the same place. Its errors say nothing of the value.
func (v *Vault) Open(sealed []byte, place string) ([]byte, error) {
	if v == nil {
		return nil, notConfigured()
	}
	value, err := v.cipher.Decrypt(sealed, []byte(place))
	if err != nil {
		return nil, fault.Newf(fault.Internal, "", "the secret of %s does not open: it was sealed with another key, or for another place", place)
	}
	return value, nil
}

// Stale reports whether a value was sealed with another key than the one that seals now.
// Tink begins what it seals with a 1 and the number of the key.
func (v *Vault) Stale(sealed []byte) bool {
	return v != nil && (len(sealed) < 5 || sealed[0] != 1 || binary.BigEndian.Uint32(sealed[1:]) != v.primary)
}

func notConfigured() error {
	return fault.New(fault.Conflict, CodeNotConfigured, "this platform keeps no secrets: its operator has given it no key for them")
}

// Create writes a new keyset with one key; a file that is there is an error.
func Create(ctx context.Context, c Config) error {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return err
	}
	text, err := c.encode(ctx, handle)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(c.File, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return writeTo(file, text)
}

// writeTo writes a file whose loss would be that of all secrets.
func writeTo(file *os.File, text []byte) error {
	_, err := file.Write(text)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// Rotate adds a key to a keyset, which seals from now on. What the others have sealed
// still opens.
func Rotate(ctx context.Context, c Config) error {
	handle, err := c.read(ctx)
	if err != nil {
		return err
	}
	manager := keyset.NewManagerFromHandle(handle)
	id, err := manager.Add(aead.AES256GCMKeyTemplate())
	if err == nil {
		err = manager.SetPrimary(id)
	}
	if err == nil {
		handle, err = manager.Handle()
	}
	if err != nil {
		return err
	}
	return c.replace(ctx, handle)
}

// Prune removes all keys but the one that seals. What others have sealed does not open any
// more.
func Prune(ctx context.Context, c Config) error {
	handle, err := c.read(ctx)
	if err != nil {
		return err
	}
	info := handle.KeysetInfo()
	manager := keyset.NewManagerFromHandle(handle)
	for _, key := range info.GetKeyInfo() {
		if key.GetKeyId() == info.GetPrimaryKeyId() {
			continue
		}
		if err := manager.Delete(key.GetKeyId()); err != nil {
			return err
		}
	}
	if handle, err = manager.Handle(); err != nil {
		return err
	}
	return c.replace(ctx, handle)
}

// replace writes a keyset in the place of the one that is there.
func (c Config) replace(ctx context.Context, handle *keyset.Handle) error {
	text, err := c.encode(ctx, handle)
	if err != nil {
		return err
	}
	next, err := os.OpenFile(c.File+".next", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := writeTo(next, text); err != nil {
		return err
	}
	return os.Rename(next.Name(), c.File)
}

func (c Config) read(ctx context.Context) (*keyset.Handle, error) {
	about, err := os.Stat(c.File)
	if err != nil {
		return nil, fmt.Errorf("read keyset: %w", err)
	}
	if about.Size() > maxKeyset {
		return nil, fmt.Errorf("the keyset %s is too large", c.File)
	}
	text, err := os.ReadFile(c.File)
	if err != nil {
		return nil, fmt.Errorf("read keyset: %w", err)
	}
	reader := keyset.NewJSONReader(bytes.NewReader(text))
	var handle *keyset.Handle
	if c.KeeperURL == "" {
		handle, err = insecurecleartextkeyset.Read(reader)
	} else {
		err = c.withKeeper(ctx, func(keeper tink.AEAD) (err error) {
			handle, err = keyset.Read(reader, keeper)
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("the keyset %s cannot be read: %w", c.File, err)
	}
	return handle, nil
}

func (c Config) encode(ctx context.Context, handle *keyset.Handle) ([]byte, error) {
	var text bytes.Buffer
	writer := keyset.NewJSONWriter(&text)
	if c.KeeperURL == "" {
		err := insecurecleartextkeyset.Write(handle, writer)
		return text.Bytes(), err
	}
	err := c.withKeeper(ctx, func(keeper tink.AEAD) error { return handle.Write(writer, keeper) })
	return text.Bytes(), err
}

func (c Config) withKeeper(ctx context.Context, do func(tink.AEAD) error) error {
	k, err := secrets.OpenKeeper(ctx, c.KeeperURL)
	if err != nil {
		return fmt.Errorf("open the key of the keyset: %w", err)
	}
	err = do(keeper{ctx, k})
	return errors.Join(err, k.Close())
}

// keeper is the key of a KMS, which Tink wraps keysets with. Keysets have no place.
type keeper struct {
	ctx context.Context //nolint:containedctx // Tink's interface has none
	key *secrets.Keeper
}

// Encrypt implements tink.AEAD.
func (k keeper) Encrypt(plaintext, _ []byte) ([]byte, error) {
	return k.key.Encrypt(k.ctx, plaintext)
}

// Decrypt implements tink.AEAD.
func (k keeper) Decrypt(ciphertext, _ []byte) ([]byte, error) {
	return k.key.Decrypt(k.ctx, ciphertext)
}
