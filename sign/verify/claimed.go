package verify

import (
	"encoding/json"
	"fmt"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/cairn-dev/cairn/sign/evidence"
)

// Claimed reads the statement of a piece of evidence without verifying
// anything; nil for a signature that is over no statement. What it says is
// worth nothing until Check has looked at the same evidence.
func Claimed(item *evidence.Item) (_ *Statement, err error) {
	defer func() {
		if r := recover(); r != nil { // of a library
			err = fmt.Errorf("%w: %v", evidence.ErrMalformed, r)
		}
	}()
	switch {
	case item.Legacy != nil && item.Legacy.Envelope:
		var env dsse.Envelope
		if err := json.Unmarshal(item.Legacy.Payload, &env); err != nil {
			return nil, fmt.Errorf("envelope: %w", err)
		}
		return envelopeStatement(&env)
	case item.Bundle != nil:
		content, err := item.Bundle.SignatureContent()
		if err != nil {
			return nil, err
		}
		if envelope := content.EnvelopeContent(); envelope != nil {
			return envelopeStatement(envelope.RawEnvelope())
		}
	}
	return nil, nil
}
