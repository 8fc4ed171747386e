"""Generated messages of the contract, proto/multirate/v1, where each field is documented."""
