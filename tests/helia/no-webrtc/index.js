export class PeerConnection {}
export class IceUdpMuxListener {}
export default { PeerConnection, IceUdpMuxListener }
