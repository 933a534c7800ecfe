"""The policy vendor.name: the peer that should be done first gets the job."""
