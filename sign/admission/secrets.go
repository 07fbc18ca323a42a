package admission

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
)

// Secrets finds image pull secrets: the document of type
// kubernetes.io/dockerconfigjson. The error wraps fs.ErrNotExist when there is
// none.
type Secrets interface {
	Secret(namespace, name string) ([]byte, error)
}

// Directory holds secrets as files: NAMESPACE/NAME/.dockerconfigjson, as a
// mounted secret is, or NAMESPACE/NAME.json.
type Directory string

var dnsName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)
})

// maxSecret bounds a secret, in bytes, as Kubernetes does.
const maxSecret = 1 << 20

// Secret implements Secrets.
func (d Directory) Secret(namespace, name string) ([]byte, error) {
	if !dnsName().MatchString(namespace) || !dnsName().MatchString(name) || strings.Contains(namespace+name, "..") {
		return nil, fmt.Errorf("secret %q in namespace %q: not a name", name, namespace)
	}
	base := filepath.Join(string(d), namespace, name)
	raw, err := readLimited(filepath.Join(base, ".dockerconfigjson"))
	if errors.Is(err, fs.ErrNotExist) {
		return readLimited(base + ".json")
	}
	return raw, err
}

func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err == nil && len(raw) > maxSecret {
		return nil, fmt.Errorf("%s: too large: expected at most %d bytes", path, maxSecret)
	}
	return raw, err
}

// keychain gives the credentials that an object names, then those for everybody.
// The text tells sets of credentials apart.
func (s *Server) keychain(namespace string, names []string) (authn.Keychain, string) {
	if s.options.Secrets == nil || len(names) == 0 {
		return s.options.Keychain, ""
	}
	var list []authn.Keychain
	for _, name := range names {
		raw, err := s.options.Secrets.Secret(namespace, name)
		if err == nil {
			var k dockerConfig
			if err = json.Unmarshal(raw, &k); err == nil {
				list = append(list, k)
			}
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			// The registry will say whether it was needed.
			s.options.Log.Warn("pull secret not used", "namespace", namespace, "name", name)
		}
	}
	return authn.NewMultiKeychain(append(list, s.options.Keychain)...), namespace + "/" + strings.Join(names, ",")
}

// dockerConfig is a docker config.json with its credentials in it.
type dockerConfig struct {
	Auths map[string]struct {
		Auth     string `json:"auth"`
		Username string `json:"username"`
		Password string `json:"password"`
	} `json:"auths"`
}

// Resolve implements authn.Keychain. The key with the longest path that fits
// wins, as in the kubelet.
func (c dockerConfig) Resolve(r authn.Resource) (authn.Authenticator, error) {
	best, longest := "", -1
	for key := range c.Auths {
		scope := strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://"), "/")
		scope = strings.TrimSuffix(strings.TrimSuffix(scope, "/v1"), "/v2")
		if scope == "docker.io" {
			scope = "index.docker.io"
		}
		if (scope == r.RegistryStr() || r.String() == scope || strings.HasPrefix(r.String(), scope+"/")) && len(scope) > longest {
			best, longest = key, len(scope)
		}
	}
	if longest < 0 {
		return authn.Anonymous, nil
	}
	a := c.Auths[best]
	if a.Auth == "" {
		return &authn.Basic{Username: a.Username, Password: a.Password}, nil
	}
	raw, err := base64.StdEncoding.DecodeString(a.Auth)
	user, password, ok := strings.Cut(string(raw), ":")
	if err != nil || !ok {
		return nil, fmt.Errorf("credentials for %s: not base64 of user:password", r.RegistryStr())
	}
	return &authn.Basic{Username: user, Password: password}, nil
}
