"""The policy acme.policy: the peer that should be done first gets the job."""
