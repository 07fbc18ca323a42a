package provenance

import (
	"encoding/json"
	"fmt"

	"github.com/cairn-dev/cairn/packages/apk"
)

// Lock returns the lock that a predicate says the image was built from, as
// [github.com/cairn-dev/cairn/sign/proof.Options] wants it: what a verified
// attestation says of the lock is as good as having it. The predicate must be of
// [BuildType]; one of a build from a lock without a digest of its own, as apko
// writes them, gives an error.
func Lock(predicate []byte) (apk.SHA256, error) {
	var p struct {
		BuildDefinition struct {
			BuildType          string `json:"buildType"`
			ExternalParameters struct {
				Lock struct {
					ID string `json:"id"`
				} `json:"lock"`
			} `json:"externalParameters"`
		} `json:"buildDefinition"`
	}
	if err := json.Unmarshal(predicate, &p); err != nil {
		return apk.SHA256{}, fmt.Errorf("%w: predicate: %w", ErrIncomplete, err)
	}
	if t := p.BuildDefinition.BuildType; t != BuildType {
		return apk.SHA256{}, fmt.Errorf("%w: build type %.200q, expected %q", ErrIncomplete, t, BuildType)
	}
	d, err := apk.ParseSHA256(p.BuildDefinition.ExternalParameters.Lock.ID)
	if err != nil {
		return apk.SHA256{}, fmt.Errorf("%w: externalParameters.lock.id: %w", ErrIncomplete, err)
	}
	return d, nil
}
