"""`optimize --label-next N`: the unlabelled rows that are worth labelling first."""
